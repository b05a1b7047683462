// Package e2e is golden output of protoc-gen-go-plugwire in the packages below
// it, and tests that compile and serve it with core.
package e2e
