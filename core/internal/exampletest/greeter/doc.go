// Package greeter is what the Examples of core's packages speak, generated from
// greeter.proto.
package greeter
