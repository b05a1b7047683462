// Package files keeps files below one directory, the root, that requests cannot
// leave. Begin with [Open]; [Store.Download] and [Store.Upload] move files of
// any size in little memory. The package does not know how data travels. Its
// errors are gRPC statuses, because callers act on these.
package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"sync"
)

// DefaultMaxSize is the size of the largest file that a store accepts, in
// bytes, unless [WithMaxSize] says otherwise. It equals the limit for
// interrupted uploads, so that the upload of a largest file can be resumed.
const DefaultMaxSize = maxStagedBytes

// A Store is the files below one directory. Its methods are safe for concurrent
// use, also by several processes.
type Store struct {
	root    *os.Root
	escaped error // root's error for a link that leads outside of it
	maxSize int64
	chunk   int64 // size of a download's chunk

	sweeping sync.Mutex // one sweep at a time
}

// Option changes a store.
type Option interface{ apply(s *Store) error }

type option func(*Store) error

func (o option) apply(s *Store) error { return o(s) }

// WithMaxSize sets the size of the largest file that can be uploaded, in bytes.
func WithMaxSize(bytes int64) Option {
	return option(func(s *Store) error {
		if bytes < 1 {
			return fmt.Errorf("the largest file cannot have %d bytes: want at least 1", bytes)
		}
		s.maxSize = bytes
		return nil
	})
}

// WithChunkSize sets the size of a download's chunk, in bytes. The default is
// [ChunkSize].
func WithChunkSize(bytes int64) Option {
	return option(func(s *Store) error {
		if bytes < 1 {
			return fmt.Errorf("a chunk cannot have %d bytes: want at least 1", bytes)
		}
		s.chunk = bytes
		return nil
	})
}

// Open returns the store of the files below a directory, and removes old
// unfinished uploads there. The caller closes it.
func Open(dir string, opts ...Option) (*Store, error) {
	s := &Store{maxSize: DefaultMaxSize, chunk: ChunkSize}
	for _, o := range opts {
		if err := o.apply(s); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("the root: %w", err)
	}
	s.root = root
	// Package os does not export this error, but it is always the same value.
	var escape *fs.PathError
	if _, err := root.Lstat(".."); !errors.As(err, &escape) {
		return nil, errors.Join(fmt.Errorf("the root: cannot find the error for links that leave it: %w", err), root.Close())
	}
	s.escaped = escape.Err
	if err := s.sweep(); err != nil {
		return nil, errors.Join(fmt.Errorf("the root: remove old uploads: %w", err), root.Close())
	}
	return s, nil
}

// Close closes the store. Transfers that are under way fail.
func (s *Store) Close() error { return s.root.Close() }

// List returns the names of at most limit entries of the root, those of
// directories with a "/" at the end, in the order of the file system.
func (s *Store) List(ctx context.Context, limit int) (names []string, more bool, err error) {
	dir, err := s.root.Open(".")
	if err != nil {
		return nil, false, s.status(".", err)
	}
	defer func() { _ = dir.Close() }() // the directory was only read
	for {
		if err := ctx.Err(); err != nil {
			return nil, false, s.status(".", err)
		}
		entries, err := dir.ReadDir(1)
		switch {
		case errors.Is(err, io.EOF):
			return names, false, nil
		case err != nil:
			return nil, false, s.status(".", err)
		case entries[0].Name() == stagingDir:
			continue
		case len(names) == limit:
			return names, true, nil
		}
		name := entries[0].Name()
		if entries[0].IsDir() {
			name += "/"
		}
		names = append(names, name)
	}
}

// clean is the function clean for the system that the store is on.
func (s *Store) clean(filePath string) (string, error) {
	return clean(filePath, runtime.GOOS == "windows")
}

// quote quotes a peer's text, shortened for a message.
func quote(text string) string {
	const most = 200
	if len(text) > most {
		return strconv.Quote(text[:most]) + "..."
	}
	return strconv.Quote(text)
}
