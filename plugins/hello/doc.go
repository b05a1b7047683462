// Package hello is the generated code of the smallest sample, the service
// Greeter. The host and the plugin that use it are the commands in cmd.
package hello
