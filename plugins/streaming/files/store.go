// Package files keeps files below one directory, the root, that requests cannot
// leave. Begin with [Open]; [Store.Download] and [Store.Upload] move files of
// any size in little memory. How the data travels is not its business; its
// errors are gRPC statuses, because those are what a caller acts on.
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

// DefaultMaxSize is the size of the largest file that a store takes, in bytes,
// unless [WithMaxSize] says otherwise. It equals what is kept of interrupted
// uploads, so that one of the largest files can be resumed.
const DefaultMaxSize = maxStagedBytes

// A Store is the files below one directory. Its methods are safe for concurrent
// use, also by several processes.
type Store struct {
	root    *os.Root
	escaped error // what root says of a link that leaves it
	maxSize int64
	chunk   int64 // bytes in one of a download

	sweeping sync.Mutex // so that sweeps do not fight over the same files
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

// WithChunkSize sets how much of a file one chunk of a download has, in bytes.
// The default is [ChunkSize].
func WithChunkSize(bytes int64) Option {
	return option(func(s *Store) error {
		if bytes < 1 {
			return fmt.Errorf("a chunk cannot have %d bytes: want at least 1", bytes)
		}
		s.chunk = bytes
		return nil
	})
}

// Open returns the store of the files below a directory, and removes what is
// left there of uploads that nobody will resume. The caller closes it.
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
	// Package os has no name for this error, but always the same value.
	var escape *fs.PathError
	if _, err := root.Lstat(".."); !errors.As(err, &escape) {
		return nil, errors.Join(fmt.Errorf("the root: cannot tell what leaves it: %w", err), root.Close())
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
// directories with a "/" at the end, in the order that the file system has.
func (s *Store) List(ctx context.Context, limit int) (names []string, more bool, err error) {
	dir, err := s.root.Open(".")
	if err != nil {
		return nil, false, s.status(".", err)
	}
	defer func() { _ = dir.Close() }() // it was only read
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

// quote quotes what a peer sent, or as much of it as belongs into a message.
func quote(text string) string {
	const most = 200
	if len(text) > most {
		return strconv.Quote(text[:most]) + "..."
	}
	return strconv.Quote(text)
}
