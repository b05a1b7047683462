package main

import (
	"context"
	"fmt"
)

// send sends the files to the plugin, as many in one call as the version of the
// protocol allows, and shows the outcome of each, in their order. Other files are
// processed even if one fails, but the command then fails at the end.
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

// A queue holds the texts of the next call: those that were read and not sent.
type queue struct {
	client client
	show   func(file string, o outcome) error

	names, texts []string
	failed       int // number of the outcomes that were shown
}

// add queues a text. It makes calls until the rest fits into one.
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

// flush sends all queued texts, which fit into one call.
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
