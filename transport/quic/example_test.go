package quic_test

import (
	"fmt"

	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/quic"
)

// A host and a plugin pass New to WithTransports, here with others: the order
// is the preference. The certificates that QUIC needs come with the handshake.
func Example() {
	set, err := transport.NewSet(quic.New())
	fmt.Println(set.IDs(), err)

	// Output: [quic/1] <nil>
}

func ExampleWithListenAddress() {
	// The plugin is in another network namespace, which its host reaches over
	// IPv6.
	t := quic.New(quic.WithListenAddress("[fd00::2]:0"))
	fmt.Println(t.Name(), t.Versions())

	// Output: quic [1]
}
