// Command multiservice-plugin is the sample's plugin. A host starts it, for
// example multiservice-host, and names the directory of its database.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/plugins/multiservice/multi"
	"github.com/plugwire/plugwire/plugins/multiservice/service"
	"github.com/plugwire/plugwire/plugins/multiservice/store"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

func main() {
	dir := flag.String("dir", "", "`directory` of the database; it is created if it does not exist")
	flag.Usage = usage
	flag.Parse()
	if *dir == "" || flag.NArg() > 0 {
		usage()
		os.Exit(1)
	}
	// Open the database before serving, so that an error of the database fails
	// the start and not the first call.
	db, err := store.Open(*dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "multiservice-plugin:", err)
		os.Exit(1)
	}
	plugin.Main(multi.ServeMulti(service.New(db)),
		plugin.WithTransports(unix.New(), quic.New(), tcp.New()),
		plugin.WithMaxMessageSize(service.MaxMessageSize),
		plugin.OnShutdown(func(context.Context) error { return db.Close() })) // runs after the last call
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: multiservice-plugin -dir directory\nA host starts it, for example: multiservice-host -dir directory")
	flag.PrintDefaults()
}
