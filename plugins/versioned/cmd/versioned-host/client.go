package main

import (
	"context"

	"github.com/plugwire/plugwire/plugins/versioned/example"
)

// A client is the plugin, in one version of the protocol. The rest of this
// command does not know which.
type client interface {
	// take returns how many of texts, from the first on, go into one call: all
	// of them, unless that would be too much, and at least one.
	take(texts []string) int

	// process has the plugin process texts, no more than take said. There is an
	// outcome for each, in their order; an error is one of them all.
	process(ctx context.Context, texts []string) ([]outcome, error)
}

// A job is what to do to the texts.
type job struct {
	operations []operation
	metadata   map[string]string
}

// An outcome is what became of one text.
type outcome struct {
	text       string
	statistics *example.TextStatistics // nil in version 1
	metadata   map[string]string
	err        error // a gRPC status
}
