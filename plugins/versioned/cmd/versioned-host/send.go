package main

import (
	"context"
	"fmt"
)

// send sends the files to the plugin, as many in one call as the version of the
// protocol has room for, and shows what becomes of each, in their order. A file
// that fails does not keep the others from being processed, but the command fails
// in the end.
func send(ctx context.Context, c client, files []string, show func(file string, o outcome) error) error {
	q := queue{client: c, show: show}
	for _, name := range files {
		text, err := readText(ctx, name)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if err := q.flush(ctx); err != nil {
				return err
			}
			if err := q.done(name, outcome{err: err}); err != nil {
				return err
			}
			continue
		}
		if err := q.add(ctx, name, text); err != nil {
			return err
		}
	}
	if err := q.flush(ctx); err != nil {
		return err
	}
	if q.failed > 0 {
		return fmt.Errorf("%d of %d files failed", q.failed, len(files))
	}
	return nil
}

// A queue holds the texts of the next call: what has been read and not sent.
type queue struct {
	client client
	show   func(file string, o outcome) error

	names, texts []string
	failed       int // of all that were shown
}

// add queues a text. It makes calls until the rest may be in one.
func (q *queue) add(ctx context.Context, name, text string) error {
	q.names, q.texts = append(q.names, name), append(q.texts, text)
	for {
		n := q.client.take(q.texts)
		if n == len(q.texts) {
			return nil
		}
		if err := q.send(ctx, n); err != nil {
			return err
		}
	}
}

// flush sends all that is queued, which may be in one call.
func (q *queue) flush(ctx context.Context) error {
	if len(q.texts) == 0 {
		return nil
	}
	return q.send(ctx, len(q.texts))
}

func (q *queue) send(ctx context.Context, n int) error {
	outcomes, err := q.client.process(ctx, q.texts[:n])
	if err != nil {
		return err
	}
	for i, o := range outcomes {
		if err := q.done(q.names[i], o); err != nil {
			return err
		}
	}
	q.names, q.texts = q.names[n:], q.texts[n:]
	return nil
}

func (q *queue) done(name string, o outcome) error {
	if o.err != nil {
		q.failed++
	}
	return q.show(name, o)
}
