package conform

import (
	"bytes"
	"context"
	"errors"
	"os"
	"sync"
)

// maxRecorded is how much of one output is kept, in bytes. What a program prints beyond
// that is read and dropped, so that it does not block.
const maxRecorded = 4 << 20

// Recording is what a process has printed on one descriptor.
type Recording struct {
	file *os.File
	done chan struct{} // closed when nobody reads any more

	mu      sync.Mutex // guards what follows
	kept    []byte
	ended   bool
	changed chan struct{} // closed at the next change
}

// newRecording returns a recording, and the file that the process writes to.
func newRecording() (*Recording, *os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	rec := &Recording{file: r, done: make(chan struct{}), changed: make(chan struct{})}
	go rec.read() // until Close
	return rec, w, nil
}

func (r *Recording) read() {
	defer close(r.done)
	buf := make([]byte, 32<<10)
	for {
		n, err := r.file.Read(buf)
		r.mu.Lock()
		r.kept = append(r.kept, buf[:min(n, maxRecorded-len(r.kept))]...)
		r.ended = err != nil
		close(r.changed)
		r.changed = make(chan struct{})
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Close stops to read: to a process, its reader has gone.
func (r *Recording) Close() error {
	err := r.file.Close()
	<-r.done
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// Bytes returns what was printed until now.
func (r *Recording) Bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.kept)
}

// Wait waits until enough reports true for what was printed, or the output has ended. It
// returns what was printed, and an error only if the context ends first.
func (r *Recording) Wait(ctx context.Context, enough func(printed []byte) bool) ([]byte, error) {
	for {
		r.mu.Lock()
		kept, ended, changed := bytes.Clone(r.kept), r.ended, r.changed
		r.mu.Unlock()
		if ended || enough(kept) {
			return kept, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return kept, ctx.Err()
		}
	}
}
