package negotiation_test

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/transport"
)

// What a host puts into the environment of a plugin.
func ExampleOffer_Environ() {
	o := negotiation.Offer{
		Cookie:     negotiation.DefaultCookie(),
		Versions:   []int{2, 1},
		SocketDir:  "/tmp/plugwire-1",
		Transports: []transport.ID{{Name: "unix", Version: 1}},
		Plugwire:   true,
		Protocol:   "example",
		Sessions:   []string{handshake.SessionDirect},
		Wires:      []string{handshake.WireH2},
		Security:   []string{handshake.SecurityPeerCred},
		Instance:   "3f9a1c5e7b2d4f60",
	}
	fmt.Println(strings.Join(o.Environ(), "\n"))
	// Output:
	// PLUGIN_MAGIC_COOKIE=plugwire
	// PLUGIN_PROTOCOL_VERSIONS=2,1
	// PLUGIN_MIN_PORT=0
	// PLUGIN_MAX_PORT=0
	// PLUGIN_TRANSPORTS=unix
	// PLUGIN_UNIX_SOCKET_DIR=/tmp/plugwire-1
	// PLUGWIRE_OFFER=protocol=example|transports=unix/1|sessions=direct|wires=h2|security=peercred|instance=3f9a1c5e7b2d4f60
}

// A plugin that was started by hand finds no cookie.
func ExampleParseOffer() {
	none := func(string) (string, bool) { return "", false }
	_, err := negotiation.ParseOffer(none, negotiation.DefaultCookie(), runtime.GOOS)
	fmt.Println(err)
	// Output: this program is a plugin: it is meant to be started by its host application, not by hand: the host and the plugin must be given the same cookie (this plugin expects PLUGIN_MAGIC_COOKIE=plugwire)
}

// The answer of a plugin that is built with hashicorp/go-plugin.
func ExampleParseAnswer() {
	a, err := negotiation.ParseAnswer("1|2|unix|/tmp/plugin683854093|grpc|", "3f9a1c5e7b2d4f60")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(a.Version, a.Transport, a.Address, a.Security, a.Plugwire)
	// Output: 2 unix/1 /tmp/plugin683854093 peercred false
}

func ExampleAnswer_Check() {
	o := negotiation.Offer{
		Versions:   []int{2, 1},
		Transports: []transport.ID{{Name: "unix", Version: 1}},
		Security:   []string{handshake.SecurityMTLS},
	}
	a, err := negotiation.ParseAnswer("1|3|unix|/tmp/plugin683854093|grpc|", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = a.Check(&o)
	fmt.Println(err)
	// Output: host and plugin have no protocol version in common (host: versions 2, 1; plugin: version 3): the host is the older one: update it
}

func ExampleChoose() {
	o := negotiation.Offer{
		Versions:   []int{2, 1},
		Transports: []transport.ID{{Name: "quic", Version: 1}, {Name: "unix", Version: 2}, {Name: "unix", Version: 1}},
	}
	choice, err := negotiation.Choose(&o, negotiation.Capabilities{
		Protocols:  []negotiation.Protocol{{Name: "example", Versions: []int{3, 2, 1}}},
		Transports: []transport.ID{{Name: "unix", Version: 1}},
		Sessions:   map[string][]string{"unix": {handshake.SessionDirect}},
	})
	fmt.Println(choice.Protocol, choice.Version, choice.Candidates, choice.Wire, err)
	// Output: example 2 [{unix/1 direct}] h2 <nil>
}

func ExampleChooseSecurity() {
	o := negotiation.Offer{Plugwire: true, Security: []string{handshake.SecurityPeerCred, handshake.SecurityMTLS}}
	fmt.Println(negotiation.ChooseSecurity(&o, []string{handshake.SecurityMTLS, handshake.SecurityPeerCred}))
	// Output: peercred <nil>
}
