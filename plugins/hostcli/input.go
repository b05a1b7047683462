package hostcli

import (
	"context"
	"io"
	"os"
)

// An Input is the input of a command: a file, or standard input.
type Input struct {
	size    int64
	content *io.PipeReader
	stop    func() bool // ends the wait for the end of the context
}

// Open opens the file of that name, or standard input if that is "-". It returns
// as soon as ctx is done, and so do reads, even from a terminal or from a named
// pipe without a writer. The caller closes the input.
func Open(ctx context.Context, name string) (*Input, error) {
	content, w := io.Pipe()
	type result struct {
		size int64
		err  error
	}
	opened := make(chan result, 1)
	file := os.Stdin
	// This goroutine is not waited for, because nothing can interrupt a read
	// from a terminal. It ends with that read, or with the process.
	go func() {
		if name != "-" {
			var err error
			if file, err = os.Open(name); err != nil { //nolint:gosec // the file that the user names
				opened <- result{err: err}
				return
			}
			defer func() { _ = file.Close() }() // the file was only read
		}
		opened <- result{size: size(file)}
		_, err := io.Copy(w, file)
		w.CloseWithError(err)
	}()
	select {
	case r := <-opened:
		if r.err != nil {
			return nil, r.err
		}
		stop := context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
		return &Input{r.size, content, stop}, nil
	case <-ctx.Done():
		_ = content.Close() // a file that is opened after all is not read
		return nil, ctx.Err()
	}
}

// size returns the length of a file, or -1 for anything else.
func size(f *os.File) int64 {
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		return info.Size()
	}
	return -1
}

// Size is the number of bytes, -1 if that is not known.
func (in *Input) Size() int64 { return in.size }

// Read reads from the input. When the context of [Open] is done it returns the
// context's error.
func (in *Input) Read(b []byte) (int, error) { return in.content.Read(b) }

// Close closes the input. Standard input stays open.
func (in *Input) Close() {
	in.stop()
	_ = in.content.Close() // Close of a pipe always returns nil
}
