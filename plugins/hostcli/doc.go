// Package hostcli is what the command lines of the sample hosts have in common:
// flags and help, how the plugin is found, started and stopped, what is printed,
// as text or as JSON, exit codes, signals, and a progress bar. A sample's own
// code is then its commands and nothing else; begin with [Program].
//
// A host of your own needs none of it: what it needs is one call of host.Launch,
// in session.go.
package hostcli
