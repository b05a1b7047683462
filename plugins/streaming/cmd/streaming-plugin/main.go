// Command streaming-plugin serves the files below one directory, and a chat
// room. A host starts it, for example streaming-host. Started by hand, it only
// explains that.
package main

import (
	"context"
	"errors"
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
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: streaming-plugin -root directory [-max-size bytes]\nA host starts it, for example: streaming-host -root directory")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *root == "" || flag.NArg() > 0 {
		fail(errors.New("this is a plugin: a host starts it with -root DIRECTORY and other flags, without arguments; try streaming-host"))
	}
	store, err := files.Open(*root, files.WithMaxSize(*maxSize))
	if err != nil {
		fail(err)
	}
	plugin.Main(streaming.ServeStreamingService(handler.New(store)),
		plugin.WithTransports(unix.New(), quic.New(), tcp.New()),
		plugin.WithMaxMessageSize(handler.MaxMessageSize),
		plugin.OnShutdown(func(context.Context) error { return store.Close() }))
}

// fail ends a plugin that cannot serve, like plugin.Main.
func fail(err error) {
	fmt.Fprintln(os.Stderr, "streaming-plugin:", err)
	os.Exit(1)
}
