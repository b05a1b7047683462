package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/versioned/example"
)

// optionsV1 are all operations of version 1, in its only order.
var optionsV1 = [...]string{"trim", "collapse", "uppercase", "lowercase", "sort"}

// A clientV1 makes one call for each text.
type clientV1 struct {
	client  example.DataProcessorV1Client
	options map[string]string
}

func newClientV1(conn grpc.ClientConnInterface, j job) (client, error) {
	if len(j.metadata) > 0 {
		return nil, errors.New("metadata needs version 2 of the protocol: this plugin, or -versions, has only version 1")
	}
	c := &clientV1{client: example.NewDataProcessorV1Client(conn), options: map[string]string{}}
	last := -1
	for _, o := range j.operations {
		switch at := slices.Index(optionsV1[:], o.name); {
		case at < 0:
			return nil, fmt.Errorf("operation %s needs version 2 of the protocol: this plugin, or -versions, has only version 1", o.name)
		case at <= last:
			return nil, fmt.Errorf("operation %s after %s needs version 2 of the protocol: this plugin, or -versions, has only version 1", o.name, optionsV1[last])
		default:
			last = at
			c.options[o.name] = "true"
		}
	}
	return c, nil
}

func (*clientV1) take([]string) int { return 1 }

func (c *clientV1) process(ctx context.Context, texts []string) ([]outcome, error) {
	outcomes := make([]outcome, len(texts))
	for i, text := range texts {
		response, err := c.client.Process(ctx, &example.ProcessRequestV1{Data: text, Options: c.options})
		if err != nil && status.Code(err) != codes.InvalidArgument {
			return nil, err // the error concerns the call, not this text
		}
		outcomes[i] = outcome{text: response.GetResult(), err: err}
	}
	return outcomes, nil
}
