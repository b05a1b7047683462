package handshake_test

import (
	"fmt"

	"github.com/plugwire/plugwire/core/handshake"
)

// A host attaches to a plugin that runs already by what that has printed.
func ExampleParseAttachInfo() {
	info, err := handshake.ParseAttachInfo(`{"echo":{"plugwire":1,"protocol":"echo","version":2,"transport":"unix/1","address":"/tmp/s","security":"peercred","stays":true}}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(info.Protocol, info.Version, "over", info.Transport, "at", info.Address, "stays:", info.Stays)
	// Output: echo 2 over unix/1 at /tmp/s stays: true
}
