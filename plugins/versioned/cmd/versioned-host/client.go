package main

import (
	"context"

	"github.com/plugwire/plugwire/plugins/versioned/example"
)

// A client calls the plugin in one version of the protocol. The rest of this
// command does not depend on the version.
type client interface {
	// take returns how many texts, from the first on, fit into one call: at
	// least one.
	take(texts []string) int

	// process sends texts to the plugin, at most as many as take returned. It
	// returns an outcome for each, in their order. An error concerns all texts.
	process(ctx context.Context, texts []string) ([]outcome, error)
}

// A job has the operations and the metadata for the texts.
type job struct {
	operations []operation
	metadata   map[string]string
}

// An outcome is the outcome of one text.
type outcome struct {
	text       string
	statistics *example.TextStatistics // nil in version 1
	metadata   map[string]string
	err        error // a gRPC status
}
