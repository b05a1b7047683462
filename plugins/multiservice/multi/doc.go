// Package multi is the generated code of the sample protocol with two services,
// UserService and DataService: messages, clients ([NewUserServiceClient],
// [NewDataServiceClient]), and what a host and a plugin need to speak both
// ([MultiProtocol], [ServeMulti]). The file multi.proto is its reference.
package multi
