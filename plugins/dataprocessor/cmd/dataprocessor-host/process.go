package main

import (
	"context"
	"errors"
	"io"

	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
)

// process runs the process command: results, then stored results, then, with
// -json, the status.
func process(ctx context.Context, client example.DataProcessorClient, input io.Reader, bar *progress, cfg config, out *output) error {
	p := pipeline{
		maxCalls: maxCalls,
		maxBytes: maxBytes,
		maxLine:  maxLine,
		send: func(ctx context.Context, text string) (*example.ProcessResponse, error) {
			return client.ProcessData(ctx, &example.ProcessRequest{Data: text, Options: cfg.options, Tags: cfg.tags})
		},
		print: func(l line, response *example.ProcessResponse) error {
			bar.makeRoom()
			if err := out.result(l.number, response); err != nil {
				return err
			}
			bar.add(l.size)
			return nil
		},
	}
	err := p.run(ctx, input)
	bar.remove()
	if err != nil {
		return err
	}
	if cfg.query != nil {
		if err := showStored(ctx, client, *cfg.query, cfg.limit, out); err != nil {
			return err
		}
	}
	if cfg.json {
		return showStatus(ctx, client, out)
	}
	return nil
}

func showStored(ctx context.Context, client example.DataProcessorClient, query string, limit int32, out *output) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream if it is left early
	stream, err := client.StreamResults(ctx, &example.StreamRequest{Query: query, Limit: limit})
	if err != nil {
		return err
	}
	for {
		item, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := out.stored(item); err != nil {
			return err
		}
	}
}

func showStatus(ctx context.Context, client example.DataProcessorClient, out *output) error {
	s, err := client.GetStatus(ctx, &example.StatusRequest{})
	if err != nil {
		return err
	}
	return out.status(s)
}
