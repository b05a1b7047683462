// Package codegen holds the versions of the generators that command
// plugwire-gen runs. It is not for importing: use cmd/plugwire-gen, or
// cmd/protoc-gen-go-plugwire under protoc or buf.
package codegen

import "embed"

// Module holds this module's go.mod and go.sum. They pin protoc-gen-go and
// protoc-gen-go-grpc, so that plugwire-gen runs the releases that it was tested
// with, wherever it is run.
//
//go:embed go.mod go.sum
var Module embed.FS
