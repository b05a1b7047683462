package self

import (
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// redirectStdout makes w standard output, for children and for output through os.Stdout.
func redirectStdout(w *os.File) (original *os.File, restore func() error, err error) {
	original = os.Stdout
	if err := windows.SetStdHandle(windows.STD_OUTPUT_HANDLE, windows.Handle(w.Fd())); err != nil {
		return nil, nil, err
	}
	os.Stdout = w
	return original, func() error {
		os.Stdout = original
		return windows.SetStdHandle(windows.STD_OUTPUT_HANDLE, windows.Handle(original.Fd()))
	}, nil
}

// restoreStderr gives os.Stderr its original value.
func restoreStderr(original, _ *os.File) error {
	os.Stderr = original
	return nil
}

// flushTimeout bounds the wait for the end of a pipe, which another process can keep open.
const flushTimeout = time.Second

// flush passes on what was printed until now. A pipe has no deadlines on Windows, so flush
// reads it to its end.
func (p *capturePipe) flush() {
	_ = p.closeWrite() // ends the reader, unless another process has the pipe
	done := make(chan struct{})
	go func() {
		p.done.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(flushTimeout):
	}
}
