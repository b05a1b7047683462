// Package streaming is the sample's service: streaming.proto and the Go code
// that plugwire-gen generates from it. Package handler implements it.
package streaming
