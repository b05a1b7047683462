// Command streaming-plugin serves the files below one directory, and a chat
// room. A host starts it, for example streaming-host; by hand it only says so.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/plugins/streaming/files"
	"github.com/plugwire/plugwire/plugins/streaming/handler"
	"github.com/plugwire/plugwire/plugins/streaming/streaming"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

func main() {
	root := flag.String("root", "", "`directory` whose files are served; requests cannot leave it")
	maxSize := flag.Int64("max-size", files.DefaultMaxSize, "size in `bytes` of the largest file that can be uploaded")
	flag.Parse()
	if *root == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "streaming-plugin: name the directory to serve with -root, and nothing else but flags")
		flag.Usage()
		os.Exit(2)
	}
	store, err := files.Open(*root, files.WithMaxSize(*maxSize))
	if err != nil {
		fmt.Fprintln(os.Stderr, "streaming-plugin:", err)
		os.Exit(1)
	}
	plugin.Main(streaming.ServeStreamingService(handler.New(store)),
		plugin.WithTransports(unix.New(), quic.New(), tcp.New()),
		plugin.WithMaxMessageSize(handler.MaxMessageSize),
		plugin.OnShutdown(func(context.Context) error { return store.Close() }))
}
