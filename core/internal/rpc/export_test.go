package rpc

// ToyWire is the name of a wire that only the tests of this package have.
const ToyWire = toyName
