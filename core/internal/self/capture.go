// Package self is what a plugin's process does to itself: it captures what it prints,
// takes descriptors that its host has passed on, notices that its host is gone, and then
// ends its own group. Package process is about other processes.
package self

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// captureBuffer is what one read of a capture asks for: half a full pipe on Linux.
const captureBuffer = 32 << 10

// Capture takes over what this process prints: on its standard output everything,
// also of C code and of its children, on its standard error what goes through
// os.Stderr. The descriptor of standard error stays what it is, because that is
// where the Go runtime writes when it ends the process, and nobody could pass
// that on any more.
//
// It changes the process as a whole, so only a program's main may use it.
type Capture struct {
	// Stdout and Stderr are what was there before.
	Stdout, Stderr *os.File

	restore func() error
	pipes   []*capturePipe
}

type capturePipe struct {
	read, write *os.File
	put         func([]byte)
	done        sync.WaitGroup
}

// NewCapture calls stdout and stderr with what is printed, each from a goroutine of
// its own. They must not keep it, nor block for long. End the capture.
func NewCapture(stdout, stderr func([]byte)) (*Capture, error) {
	out, err := newCapturePipe(stdout)
	if err != nil {
		return nil, fmt.Errorf("capture standard output: %w", err)
	}
	errs, err := newCapturePipe(stderr)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("capture standard error: %w", err), out.close())
	}
	c := &Capture{Stderr: os.Stderr, pipes: []*capturePipe{out, errs}}
	if c.Stdout, c.restore, err = redirectStdout(out.write); err != nil {
		return nil, errors.Join(fmt.Errorf("capture standard output: %w", err), out.close(), errs.close())
	}
	restoreStdout := c.restore
	c.restore = func() error { return errors.Join(restoreStdout(), restoreStderr(c.Stderr, errs.write)) }
	os.Stderr = errs.write
	for _, p := range c.pipes {
		p.done.Go(p.run)
	}
	return c, nil
}

func newCapturePipe(put func([]byte)) (*capturePipe, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &capturePipe{read: r, write: w, put: put}, nil
}

func (p *capturePipe) close() error { return errors.Join(p.read.Close(), p.closeWrite()) }

// closeWrite closes this process's own writing end, if nobody has.
func (p *capturePipe) closeWrite() error {
	if err := p.write.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

func (p *capturePipe) run() {
	buf := make([]byte, captureBuffer)
	for {
		n, err := p.read.Read(buf)
		p.put(buf[:n])
		if err != nil {
			return // told to by flush, or nobody can write any more
		}
	}
}

// Flush passes on everything that was printed until now, and captures nothing
// more: what comes later goes where it went before. It is to be called once.
func (c *Capture) Flush() error {
	err := c.restore()
	for _, p := range c.pipes {
		p.flush()
		err = errors.Join(err, p.read.Close())
	}
	return err
}
