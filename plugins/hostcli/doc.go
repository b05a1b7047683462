// Package hostcli has the common part of the sample hosts' command lines: flags
// and help, how to find, start and stop the plugin, output as text or as JSON,
// exit codes, signals, and a progress bar. A sample's own code is then only its
// commands. Begin with [Program].
//
// A host of your own does not need it: it needs one call of host.Launch, in
// session.go.
package hostcli
