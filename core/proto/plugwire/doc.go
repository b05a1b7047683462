// Package plugwire has the options of .proto files that say which protocol their
// services belong to: plugwire/options.proto, and the Go code that is generated
// from it. Generated code imports it; nothing else has to.
package plugwire
