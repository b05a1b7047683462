// Package greeter is the protocol of the Examples of core's packages, generated
// from greeter.proto.
package greeter
