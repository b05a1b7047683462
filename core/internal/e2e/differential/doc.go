// Package differential has tests that make the same calls in several ways, and compare all
// that a user can see. The ways are plain grpc-go and each wire over each transport.
//
// The calls are programs: texts that say step by step what each side does. The files in
// testdata have programs for what gRPC promises. A fuzz target makes random programs, and
// shrinks one that finds a difference. Both sides are in the process of the test, and one
// step begins when the one before it has ended. So a program has one outcome.
package differential
