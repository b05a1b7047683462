package transport

import (
	"context"
	"net"
	"os"
)

// Preparer is implemented by a transport that makes its one connection before
// the plugin's process starts: a pair of sockets, for example. The process
// inherits its end. There is no address, and Dial returns
// errors.ErrUnsupported. The listener that Listen makes of ListenConfig.Files
// yields that one connection; its Addr has the kind of network and is not sent
// to the host.
//
// All streams of a host and its plugin then share the connection, multiplexed
// by yamux. Only a host that starts a process of its own machine can use it.
type Preparer interface {
	Transport

	// Prepare is called on the host's side for each start in which the
	// transport is offered, also if the plugin then chooses another. The
	// context bounds only that.
	Prepare(ctx context.Context, cfg PrepareConfig) (*PreparedStart, error)
}

// PrepareConfig configures Prepare. Fields may be added.
type PrepareConfig struct {
	// Version is the highest version that the host offers. A plugin may choose
	// a lower one.
	Version int
}

// PreparedStart is a prepared start. The caller of Prepare owns it and closes all of
// it.
type PreparedStart struct {
	// Files are what the plugin's process inherits, at most [MaxFiles]. The
	// host closes them when the process has started.
	Files []*os.File
	// Conn is the host's end of the connection, never nil.
	Conn net.Conn
}

// MaxFiles bounds the files that one transport passes to a process: the offer,
// which lists them, must stay readable.
const MaxFiles = 8
