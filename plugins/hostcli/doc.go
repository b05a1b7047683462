// Package hostcli has the common part of the sample hosts' command lines. It parses
// flags, and finds, starts and stops the plugin. It prints help, text or JSON, and a
// progress bar, and handles signals and exit codes. A sample's own code is then only
// its commands. Begin with [Program].
//
// A host of your own does not need it: it needs one call of host.Launch, in
// session.go.
package hostcli
