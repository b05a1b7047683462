package unix_test

import (
	"context"
	"fmt"
	"io"
	"log"

	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/unix"
)

// A host and a plugin only pass New to WithTransports. Then each side does the
// following.
func Example() {
	ctx := context.Background()

	// The plugin listens and prints its address.
	ln, err := unix.New().Listen(ctx, transport.ListenConfig{Version: 1})
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprint(conn, "hello from the plugin")
		conn.Close()
	}()

	// The host dials it.
	conn, err := unix.New().Dial(ctx, transport.DialConfig{Version: 1, Address: ln.Addr().String()})
	if err != nil {
		log.Fatal(err)
	}
	said, err := io.ReadAll(conn)
	if err != nil {
		log.Fatal(err)
	}
	conn.Close()
	ln.Close() // removes the socket too
	fmt.Printf("%s/1: %s\n", unix.Name, said)

	// Output: unix/1: hello from the plugin
}
