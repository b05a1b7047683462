package host

import (
	"os"
	"os/exec"
	"testing"

	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
)

// namedTransport is a transport that has only a name.
type namedTransport struct {
	transport.Transport
	name string
}

func (t namedTransport) Name() string    { return t.name }
func (t namedTransport) Versions() []int { return []int{1} }

// A plugin of Plugwire never uses the one-time certificate on a unix socket. The host makes
// one only if the program may be another, or may take another transport. This test's own
// program is built with Plugwire.
func TestOffersCertificate(t *testing.T) {
	t.Parallel()
	if !secure.PeerCredSupported {
		t.Skip("here the kernel vouches for no plugin")
	}
	ours, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	unix, tcp := namedTransport{name: "unix"}, namedTransport{name: "tcp"}
	for _, tt := range []struct {
		name string
		path string
		opts []Option
		want bool
	}{
		{"Plugwire on unix", ours, []Option{WithTransports(unix)}, false},
		{"Plugwire on unix or tcp", ours, []Option{WithTransports(unix, tcp)}, true},
		{"Plugwire on tcp", ours, []Option{WithTransports(tcp)}, true},
		{"TLS demanded", ours, []Option{WithTransports(unix), WithMutualTLS()}, true},
		{"a program without build information", "/bin/sh", []Option{WithTransports(unix)}, true},
		{"no program", "/no/such/program", []Option{WithTransports(unix)}, true},
		{"turned off", "/bin/sh", []Option{WithTransports(unix), WithoutCertificate()}, false},
	} {
		cfg, err := newConfig("p", append(tt.opts, WithProtocols(protocol.New("p", 1))))
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		l := &launch{config: cfg}
		if got := l.offersCertificate(&exec.Cmd{Path: tt.path}); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}
