// Package self is what a plugin's process does to itself. It captures its own output, takes
// descriptors that its host has passed on, notices the end of its host, and then ends its
// own group. Package process is about other processes.
package self

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// captureBuffer is the size of one read of a capture, in bytes: half a full pipe on Linux.
const captureBuffer = 32 << 10

// Capture captures what this process prints. On standard output that is everything, also
// from C code and from children. On standard error it is what goes through os.Stderr. The
// descriptor of standard error does not change: the Go runtime writes there when it ends
// the process, and then no goroutine could pass the text on.
//
// A Capture changes the process as a whole, so only a program's main may make one.
type Capture struct {
	// Stdout and Stderr are the files that the process had before.
	Stdout, Stderr *os.File

	restore func() error
	pipes   []*capturePipe
}

type capturePipe struct {
	read, write *os.File
	put         func([]byte)
	done        sync.WaitGroup
}

// NewCapture calls stdout and stderr with what is printed, each from a goroutine of its
// own. They must neither keep the bytes nor block for long. Flush ends the capture.
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

// closeWrite closes this process's own writing end, unless it is closed already.
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
			return // flush has ended the reading, or no process can write any more
		}
	}
}

// Flush passes on everything that was printed until now, and ends the capture. Later
// output goes where it went before the capture. Call Flush once.
func (c *Capture) Flush() error {
	err := c.restore()
	for _, p := range c.pipes {
		p.flush()
		err = errors.Join(err, p.read.Close())
	}
	return err
}
