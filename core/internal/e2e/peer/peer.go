// Package peer has the programs that the end-to-end tests start: plugins,
// hosts, and programs that run them. The binary of the tests contains all of
// them, so that they are built together. Call Main first.
package peer

import (
	"flag"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/plugwire/plugwire/core/internal/e2e/duplex"
	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
	"github.com/plugwire/plugwire/core/internal/e2e/echo"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/matrix"
	"github.com/plugwire/plugwire/core/internal/e2e/peer/grpcinterop"
	"github.com/plugwire/plugwire/core/internal/e2e/peer/hostile"
	"github.com/plugwire/plugwire/core/internal/e2e/peer/misbehave"
	"github.com/plugwire/plugwire/core/internal/e2e/peer/ongoplugin"
	"github.com/plugwire/plugwire/core/internal/e2e/peer/traced"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// programs are the main functions of the programs for every system, by name.
var programs = map[string]func(){
	"duplex-plugin":   duplexPlugin,
	"echo-plugin":     echoPlugin,
	"goplugin-peer":   ongoplugin.Main,
	"hostile":         hostile.Main,
	"interop-host":    grpcinterop.Host,
	"interop-plugin":  grpcinterop.Plugin,
	"matrix-plugin":   matrixPlugin,
	"misbehave":       misbehave.Main,
	"traced-plugin":   traced.Main,
	"versions-plugin": versionsPlugin,
}

// Names returns the names of all programs.
func Names() []string {
	return slices.Collect(maps.Keys(all()))
}

// Main runs the program of that name as the main function of this process, and
// does not return. It returns if there is no such program.
func Main(name string) {
	if main, ok := all()[name]; ok {
		main()
		os.Exit(0)
	}
}

func all() map[string]func() {
	m := maps.Clone(programs)
	maps.Copy(m, systemPrograms)
	return m
}

// echoPlugin serves the echo service over unix.
func echoPlugin() {
	plugin.Main(echopb.ServeEcho(echo.Handler{}), plugin.WithTransports(unix.New()))
}

// versionsPlugin serves the echo service over the transports that its arguments
// name. It is for the tests of the negotiation.
func versionsPlugin() {
	plugin.Main(echopb.ServeEcho(echo.Handler{}), plugin.WithTransports(ways.Parse(os.Args[1:])...))
}

// duplexPlugin calls its host back, over the transports that its arguments name,
// or all.
func duplexPlugin() {
	transports := ways.All()
	if len(os.Args) > 1 {
		transports = ways.Parse(os.Args[1:])
	}
	plugin.Main(duplexpb.ServeDuplex(&duplex.Handler{
		Other:  plugin.Host,
		Open:   plugin.OpenStream,
		Accept: plugin.AcceptStream,
	}), plugin.WithTransports(transports...))
}

// matrixPlugin is the plugin of the cross-transport tests.
func matrixPlugin() {
	names := flag.String("transports", strings.Join(ways.Names(), ","), "names of the transports")
	listen := flag.String("listen", "127.0.0.1:0", "where tcp and quic listen")
	flag.Parse()

	var transports []transport.Transport
	for name := range strings.SplitSeq(*names, ",") {
		switch name {
		case tcp.Name:
			transports = append(transports, tcp.New(tcp.WithListenAddress(*listen)))
		case quic.Name:
			transports = append(transports, quic.New(quic.WithListenAddress(*listen)))
		default:
			transports = append(transports, ways.Named(name))
		}
	}
	plugin.Main(matrix.Serve(), plugin.WithTransports(transports...))
}
