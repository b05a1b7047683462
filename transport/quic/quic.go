// Package quic is the transport over QUIC.
package quic
