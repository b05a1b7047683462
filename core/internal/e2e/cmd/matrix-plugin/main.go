// Command matrix-plugin is the plugin of the cross-transport tests.
package main

import (
	"flag"
	"strings"

	"github.com/plugwire/plugwire/core/internal/e2e/matrix"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
)

func main() {
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
