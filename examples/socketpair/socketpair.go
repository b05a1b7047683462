// Package socketpair is a transport over a pair of sockets that the plugin inherits.
package socketpair
