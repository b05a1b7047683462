// Package tcp is the transport over TCP.
package tcp
