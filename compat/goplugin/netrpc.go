package plugin

import (
	"errors"
	"io"
	"net"
	"sync"
)

// Plugins that speak net/rpc are refused: Plugwire has one way of calls, and a second one
// would need an engine of its own. What go-plugin exports for net/rpc is here, so that
// programs compile, and each function says so.

var errNetRPC = errors.New("net/rpc plugin protocol not supported: rebuild the plugin so that it serves gRPC (ServeConfig.GRPCServer), or remove the replacement of github.com/hashicorp/go-plugin")

// MuxBroker is the broker of net/rpc. Its methods return errors.
type MuxBroker struct {
	sync.Mutex
}

// Accept returns an error.
func (m *MuxBroker) Accept(uint32) (net.Conn, error) { return nil, errNetRPC }

// AcceptAndServe does nothing.
func (m *MuxBroker) AcceptAndServe(uint32, any) {}

// Close does nothing.
func (m *MuxBroker) Close() error { return nil }

// Dial returns an error.
func (m *MuxBroker) Dial(uint32) (net.Conn, error) { return nil, errNetRPC }

// NextId returns 0, which is no id.
func (m *MuxBroker) NextId() uint32 { return 0 }

// Run returns at once.
func (m *MuxBroker) Run() {}

// RPCClient is a [ClientProtocol] over net/rpc. Its methods return errors.
type RPCClient struct{}

var _ ClientProtocol = (*RPCClient)(nil)

// NewRPCClient returns an error. It closes conn, which it owns.
func NewRPCClient(conn io.ReadWriteCloser, _ map[string]Plugin) (*RPCClient, error) {
	return nil, errors.Join(errNetRPC, conn.Close())
}

// Close does nothing.
func (c *RPCClient) Close() error { return nil }

// Dispense returns an error.
func (c *RPCClient) Dispense(string) (any, error) { return nil, errNetRPC }

// Ping returns an error.
func (c *RPCClient) Ping() error { return errNetRPC }

// SyncStreams returns an error.
func (c *RPCClient) SyncStreams(io.Writer, io.Writer) error { return errNetRPC }

// RPCServer is a [ServerProtocol] over net/rpc. Init returns an error, and it serves nothing.
type RPCServer struct {
	// Plugins are the plugins that would be served.
	Plugins map[string]Plugin
	// Stdout and Stderr are what would go to the host.
	Stdout io.Reader
	Stderr io.Reader
	// DoneCh is closed when Serve returns.
	DoneCh chan<- struct{}
}

var _ ServerProtocol = (*RPCServer)(nil)

// Config returns nothing.
func (s *RPCServer) Config() string { return "" }

// Init returns an error.
func (s *RPCServer) Init() error { return errNetRPC }

// Serve closes the listener and DoneCh.
func (s *RPCServer) Serve(lis net.Listener) {
	_ = lis.Close() // there is nobody to tell
	if s.DoneCh != nil {
		close(s.DoneCh)
	}
}

// ServeConn closes conn.
func (s *RPCServer) ServeConn(conn io.ReadWriteCloser) {
	_ = conn.Close() // there is nobody to tell
}
