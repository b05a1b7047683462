package negotiation_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/transport"
)

func TestIsVariable(t *testing.T) {
	for name, want := range map[string]bool{
		"PLUGIN_PROTOCOL_VERSIONS": true,
		negotiation.EnvAttach:      true,
		negotiation.EnvDebug:       true,
		"PLUGIN_MIN_PORT":          true,
		"PLUGIN_MAX_PORT":          true,
		"PLUGIN_CLIENT_CERT":       true,
		"PLUGIN_MULTIPLEX_GRPC":    true,
		"PLUGIN_UNIX_SOCKET_DIR":   true,
		"PLUGIN_UNIX_SOCKET_GROUP": true,
		"PLUGIN_TRANSPORTS":        true,
		"PLUGIN_MAGIC_COOKIE":      true,
		"PLUGWIRE_OFFER":           true,
		"PLUGWIRE_SOMETHING_LATER": true,
		"PLUGIN_OF_THE_USER":       false,
		"PATH":                     false,
		"":                         false,
	} {
		if got := negotiation.IsVariable(name); got != want {
			t.Errorf("IsVariable(%q) = %t", name, got)
		}
	}
}

// Every variable of an offer must be one that a host clears from what it
// passes on: a host that is a plugin would give its own offer to its plugins.
func TestOfferHoldsOnlyHandshakeVariables(t *testing.T) {
	for _, entry := range offer().Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if !negotiation.IsVariable(name) {
			t.Errorf("%s is not a variable of the handshake", name)
		}
	}
}

func TestPlaintextIsNeverOffered(t *testing.T) {
	o := offer()
	o.Security = []string{handshake.SecurityMTLS, handshake.SecurityNone}
	environ := strings.Join(o.Environ(), "\n")
	if !strings.Contains(environ, "|security=mtls|") {
		t.Errorf("environment:\n%s\nwant security=mtls alone", environ)
	}
	if len(o.Security) != 2 {
		t.Error("Environ changed the offer")
	}
}

// A refusal travels as a line and comes out as an error that shows both sides.
func TestRefusal(t *testing.T) {
	for _, tt := range []struct {
		name    string
		refusal handshake.Error
		want    string
	}{
		{
			"version",
			handshake.Error{Code: handshake.CodeVersion, Reason: "no version in common", Plugin: "version 9"},
			"the plugin refused: no version in common (host: versions 2, 1; plugin: version 9)",
		},
		{
			"protocol",
			handshake.Error{Code: handshake.CodeProtocol, Reason: "different protocols", Host: "not sent", Plugin: "other"},
			"the plugin refused: different protocols (host: example; plugin: other)",
		},
		{
			"transport",
			handshake.Error{Code: handshake.CodeTransport, Reason: "could not listen"},
			"the plugin refused: could not listen (host: unix/1, tcp/1)",
		},
		{
			"session",
			handshake.Error{Code: handshake.CodeSession, Reason: "r", Plugin: "yamux"},
			"the plugin refused: r (host: direct; plugin: yamux)",
		},
		{
			"wire",
			handshake.Error{Code: handshake.CodeWire, Reason: "r", Plugin: "w9"},
			"the plugin refused: r (host: h2; plugin: w9)",
		},
		{
			"security",
			handshake.Error{Code: handshake.CodeSecurity, Reason: "r", Hint: "give it a certificate"},
			"the plugin refused: r (host: peercred, mtls): give it a certificate",
		},
		{
			"internal",
			handshake.Error{Code: handshake.CodeInternal, Reason: "open /x|y: 100% full\n"},
			"the plugin refused: open /x|y: 100% full ",
		},
		{
			"a code of a later release",
			handshake.Error{Code: "weather", Reason: "it rains"},
			"the plugin refused: it rains",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			line := (&negotiation.Answer{Plugwire: true, Instance: offer().Instance, Refusal: &tt.refusal}).String()
			a, err := negotiation.ParseAnswer(line, offer().Instance)
			if err != nil {
				t.Fatal(err)
			}
			_, err = a.Check(offer())
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// However long a plugin's reason is, its host can read the answer.
func TestLongRefusalFitsIntoAnAnswer(t *testing.T) {
	long := strings.Repeat("\xff", 1<<20)
	a := &negotiation.Answer{
		Plugwire: true, Instance: "1",
		Refusal: &handshake.Error{Code: handshake.CodeInternal, Reason: long, Plugin: long, Hint: long},
	}
	parsed, err := negotiation.ParseAnswer(a.String(), "1")
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Refusal == nil || parsed.Refusal.Code != handshake.CodeInternal {
		t.Errorf("got %+v, want the refusal", parsed)
	}
}

// The messages that a person gets from the rules of negotiation.
func TestChooseMessages(t *testing.T) {
	have := negotiation.Capabilities{
		Protocols: []negotiation.Protocol{{Name: "example", Versions: []int{3, 1}}}, Transports: []transport.ID{{Name: "unix", Version: 1}},
		Sessions: map[string][]string{"unix": {"direct"}}, Wires: []string{"h2"},
	}
	for _, tt := range []struct {
		name   string
		change func(*negotiation.Offer)
		want   string
	}{
		{"protocol", func(o *negotiation.Offer) { o.Protocol = "other" }, "host and plugin speak different protocols (host: other; plugin: example): this host needs another plugin: check which one it was told to start"},
		{"version", func(o *negotiation.Offer) { o.Versions = []int{2} }, "host and plugin have no version of protocol example in common (host: version 2; plugin: versions 3, 1): the host is the older one: update it"},
		{"a later version", func(o *negotiation.Offer) { o.Versions = []int{4, 2} }, "host and plugin have no version of protocol example in common (host: versions 4, 2; plugin: versions 3, 1): the plugin is the older one: update it"},
		{"no version", func(o *negotiation.Offer) { o.Versions = nil }, "host and plugin have no version of protocol example in common (host: no version; plugin: versions 3, 1)"},
		{"transport", func(o *negotiation.Offer) { o.Transports = []transport.ID{{Name: "quic", Version: 1}} }, "host and plugin have no transport in common (host: quic/1; plugin: unix/1): give one of them a transport of the other's with WithTransports"},
		{"session", func(o *negotiation.Offer) { o.Sessions = []string{"yamux"} }, "host and plugin have no kind of session in common (host: yamux; plugin: direct (unix/1))"},
		{"wire", func(o *negotiation.Offer) { o.Wires = []string{"w9"} }, "host and plugin have no wire in common (host: w9; plugin: h2)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := offer()
			tt.change(o)
			_, err := negotiation.Choose(o, have)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestChooseDoesNotChangeItsArguments(t *testing.T) {
	o := offer()
	have := negotiation.Capabilities{
		Protocols: []negotiation.Protocol{{Name: "example", Versions: []int{1, 7, 2}}}, Transports: []transport.ID{{Name: "tcp", Version: 1}, {Name: "unix", Version: 1}},
		Sessions: map[string][]string{"tcp": {"direct"}, "unix": {"direct"}}, Wires: []string{"h2"},
	}
	if _, err := negotiation.Choose(o, have); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(offer(), o); diff != "" {
		t.Errorf("offer (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff([]int{1, 7, 2}, have.Protocols[0].Versions); diff != "" {
		t.Errorf("versions (-before +after):\n%s", diff)
	}
}

func TestNoSecurityInCommonNamesTheOption(t *testing.T) {
	o := offer()
	o.Security = []string{handshake.SecurityTLS}
	_, err := negotiation.ChooseSecurity(o, []string{handshake.SecurityPeerCred})
	want := "host and plugin have no security in common (host: tls; plugin: peercred): the host uses its own TLS configuration: give the plugin one with plugin.WithTLSConfig"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestForeignPlaintextNamesTheOption(t *testing.T) {
	a, err := negotiation.ParseAnswer("1|2|tcp|127.0.0.1:10000|grpc|", offer().Instance)
	if err != nil {
		t.Fatal(err)
	}
	want := "the plugin answered on tcp without a certificate, weaker than what was offered (host: peercred, mtls): the plugin must serve mutual TLS with the certificate in PLUGIN_CLIENT_CERT, or the host must allow plaintext with host.WithPlaintext"
	if _, err := a.Check(offer()); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func offer() *negotiation.Offer {
	return &negotiation.Offer{
		Cookie:     negotiation.DefaultCookie(),
		Versions:   []int{2, 1},
		ClientCert: "PEM",
		Multiplex:  "true",
		SocketDir:  "/tmp/plugwire-1",
		Transports: []transport.ID{{Name: "unix", Version: 1}, {Name: "tcp", Version: 1}},
		Plugwire:   true,
		Protocol:   "example",
		Sessions:   []string{handshake.SessionDirect},
		Wires:      []string{handshake.WireH2},
		Security:   []string{handshake.SecurityPeerCred, handshake.SecurityMTLS},
		Instance:   "3f9a1c5e7b2d4f60",
		LogLevel:   "info",
		Lifeline:   3,
		Leash:      4,
		Identities: map[int]negotiation.FileID{3: {Device: 15, Inode: 70211}, 4: {Device: 15, Inode: 70212}},
		HostPID:    4711,
	}
}
