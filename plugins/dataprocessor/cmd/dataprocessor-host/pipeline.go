package main

import (
	"context"
	"io"
	"slices"
	"sync"

	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
	"github.com/plugwire/plugwire/plugins/hostcli"
)

// These bounds limit the lines under way: lines that were read and whose
// results were not printed. They bound the memory that an input of any size
// needs.
const (
	maxCalls = 64
	// maxLine is the longest text that the plugin accepts.
	maxLine = 2 << 20
	// No further line is read while so many bytes are under way: 32 lines of
	// the greatest length, or 64 of 1 MiB.
	maxBytes = 64 << 20
)

// A pipeline sends the lines of an input to the plugin, many at a time, and
// prints the responses in the order of the lines.
type pipeline struct {
	maxCalls int
	maxBytes int // size of the lines under way, exceeded by at most one line
	send     func(ctx context.Context, text string) (*example.ProcessResponse, error)
	print    func(hostcli.Line, *example.ProcessResponse) error
}

// A call processes one line.
type call struct {
	line hostcli.Line
	done chan struct{} // closed when response or err is set

	response *example.ProcessResponse
	err      error
}

// run processes input until its end or the first error. When it returns, every
// response before the error has been printed and no call is under way. It
// returns as soon as ctx is done, even while a read of input blocks.
func (p *pipeline) run(ctx context.Context, input io.Reader) error {
	var calls sync.WaitGroup
	defer calls.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	lines := hostcli.TextLines(ctx, input, maxLine)
	var queue []*call // in the order of the lines
	queued := 0       // bytes
	for lines != nil || len(queue) > 0 {
		next := lines
		if len(queue) >= p.maxCalls || queued >= p.maxBytes {
			next = nil
		}
		var done <-chan struct{}
		if len(queue) > 0 {
			done = queue[0].done
		}
		select {
		case l, ok := <-next:
			if !ok {
				lines = nil
				continue
			}
			c := &call{line: l, done: make(chan struct{})}
			calls.Go(func() { p.call(ctx, c) })
			queue = append(queue, c)
			queued += l.Size
		case <-done:
			c := queue[0]
			queue = slices.Delete(queue, 0, 1)
			queued -= c.line.Size
			if c.err != nil {
				return &hostcli.LineError{Line: c.line.Number, Err: c.err}
			}
			if err := p.print(c.line, c.response); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err() // closes lines too
}

// call sends the line to the plugin. An empty line stays empty without a call,
// because the plugin refuses empty data.
func (p *pipeline) call(ctx context.Context, c *call) {
	defer close(c.done)
	switch {
	case c.line.Err != nil:
		c.err = c.line.Err
	case c.line.Text == "":
		c.response = &example.ProcessResponse{}
	default:
		c.response, c.err = p.send(ctx, c.line.Text)
	}
}
