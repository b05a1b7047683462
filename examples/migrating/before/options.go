package before

import (
	"crypto/sha256"
	"io"
	"net"
	"os/exec"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/plugins/hello"
)

// Versions is a host that speaks two versions.
func Versions(cmd *exec.Cmd) *plugin.Client {
	return plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: Handshake,
		VersionedPlugins: map[int]plugin.PluginSet{
			1: {"greeter": &GreeterPlugin{}},
			2: {"greeter": &GreeterPlugin{}},
		},
		Cmd:              cmd,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
	})
}

// Options is a host that sets the most common options.
func Options(cmd *exec.Cmd, stdout, stderr io.Writer) *plugin.Client {
	return plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:     Handshake,
		Plugins:             plugin.PluginSet{"greeter": &GreeterPlugin{}},
		Cmd:                 cmd,
		AllowedProtocols:    []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:            true,
		GRPCBrokerMultiplex: true,
		MinPort:             20000,
		MaxPort:             20100,
		StartTimeout:        10 * time.Second,
		Stderr:              stderr,
		SyncStdout:          stdout,
		SyncStderr:          stderr,
		SkipHostEnv:         true,
	})
}

// Checked is a host that runs only a program with a known checksum.
func Checked(cmd *exec.Cmd, sum []byte) *plugin.Client {
	return plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  Handshake,
		Plugins:          plugin.PluginSet{"greeter": &GreeterPlugin{}},
		Cmd:              cmd,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		SecureConfig:     &plugin.SecureConfig{Checksum: sum, Hash: sha256.New()},
	})
}

// Managed is a program that stops its plugins at its end.
func Managed(cmd *exec.Cmd) {
	plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: Handshake,
		Plugins:         plugin.PluginSet{"greeter": &GreeterPlugin{}},
		Cmd:             cmd,
		Managed:         true,
	})
	defer plugin.CleanupClients()
}

// Serve is a host that serves something to the plugin, and tells it the id.
func Serve(broker *plugin.GRPCBroker, impl hello.GreeterServer, call func(id uint32) error) error {
	id := broker.NextId()
	var server *grpc.Server
	go broker.AcceptAndServe(id, func(opts []grpc.ServerOption) *grpc.Server {
		server = grpc.NewServer(opts...)
		hello.RegisterGreeterServer(server, impl)
		return server
	})
	err := call(id)
	server.Stop()
	return err
}

// Dial is a plugin that calls what the host serves under an id.
func Dial(broker *plugin.GRPCBroker, id uint32) (hello.GreeterClient, func() error, error) {
	conn, err := broker.Dial(id)
	if err != nil {
		return nil, nil, err
	}
	return hello.NewGreeterClient(conn), conn.Close, nil
}

// Reattach is a host that takes a plugin which runs already.
func Reattach(addr net.Addr, pid int) *plugin.Client {
	return plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  Handshake,
		Plugins:          plugin.PluginSet{"greeter": &GreeterPlugin{}},
		Reattach:         &plugin.ReattachConfig{Protocol: plugin.ProtocolGRPC, ProtocolVersion: 1, Addr: addr, Pid: pid, Test: true},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
	})
}
