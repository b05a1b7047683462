// Package e2e has golden output of protoc-gen-go-plugwire in the packages below it, and
// tests that compile and serve this code with core.
package e2e
