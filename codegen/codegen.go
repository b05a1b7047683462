// Package codegen holds the versions of the generators that command plugwire-gen
// runs. Do not import it: use cmd/plugwire-gen, or cmd/protoc-gen-go-plugwire under
// protoc or buf.
package codegen

import "embed"

// Module holds this module's go.mod and go.sum. They pin protoc-gen-go and
// protoc-gen-go-grpc. Wherever plugwire-gen runs, it uses the releases that it was
// tested with.
//
//go:embed go.mod go.sum
var Module embed.FS
