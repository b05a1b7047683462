package secure

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/core/handshake"
)

func TestTLSConfig(t *testing.T) {
	id := identity(t)
	creds := MutualTLS(id, id.DER())
	cfg := creds.TLSConfig()
	if cfg == nil || len(cfg.Certificates) != 1 || cfg.VerifyConnection == nil {
		t.Errorf("the configuration of mutual TLS is %+v", cfg)
	}
	if creds.WithOwner(t).TLSConfig() != cfg || creds.ByTransport().TLSConfig() != cfg {
		t.Error("copies have another configuration")
	}
	for name, creds := range map[string]*Credentials{"peer credentials": PeerCred(), "plaintext": Plaintext()} {
		if cfg := creds.TLSConfig(); cfg != nil {
			t.Errorf("%s: %+v, want nil", name, cfg)
		}
	}
}

// securedConn is a stream of a transport that has done TLS.
type securedConn struct {
	net.Conn
	state tls.ConnectionState
}

func (s securedConn) ConnectionState() tls.ConnectionState { return s.state }

// shaken returns the TLS state of each end of a handshake that accepts any
// peer.
func shaken(t *testing.T, client, server *Identity) (ofClient, ofServer tls.ConnectionState) {
	t.Helper()
	c, s := meet(t, MutualTLS(client, server.DER()), MutualTLS(server, client.DER()), pipe)
	if c.err != nil || s.err != nil {
		t.Fatal(c.err, s.err)
	}
	return *c.info.TLS, *s.info.TLS
}

// roles are the two halves of a handshake.
func roles(t *testing.T, creds *Credentials) map[string]func(net.Conn) (net.Conn, Info, error) {
	t.Helper()
	return map[string]func(net.Conn) (net.Conn, Info, error){
		"client": func(conn net.Conn) (net.Conn, Info, error) {
			return creds.Client(t.Context(), conn)
		},
		"server": creds.Server,
	}
}

func TestByTransport(t *testing.T) {
	host, plugin := identity(t), identity(t)
	state, _ := shaken(t, host, plugin)
	creds := MutualTLS(host, plugin.DER()).WithOwner("owner").ByTransport()
	given := &securedConn{state: state} // the handshake must not read or write on it
	for role, shake := range roles(t, creds) {
		conn, info, err := shake(given)
		if err != nil {
			t.Errorf("%s: %v", role, err)
			continue
		}
		if conn != net.Conn(given) {
			t.Errorf("%s: the stream became a %T", role, conn)
		}
		checkTLS(t, role, info, handshake.SecurityMTLS)
		if info.Owner != "owner" || info.UID != -1 {
			t.Errorf("%s: owner %v, user %d", role, info.Owner, info.UID)
		}
	}
}

func TestByTransportRefuses(t *testing.T) {
	host, plugin, stranger := identity(t), identity(t), identity(t)
	_, ofStranger := shaken(t, stranger, plugin)
	complete, _ := shaken(t, host, plugin)
	incomplete := complete
	incomplete.HandshakeComplete = false
	plain, _ := pipe(t)
	defer plain.Close()
	mutual := MutualTLS(plugin, host.DER())
	for _, tt := range []struct {
		name  string
		creds *Credentials
		conn  net.Conn
		want  string
	}{
		{"a stream without TLS", mutual, plain, "a *net.pipe does not tell its TLS state"},
		{"a handshake that is not over", mutual, securedConn{state: incomplete}, "came without its TLS handshake"},
		{"no handshake", mutual, securedConn{}, "came without its TLS handshake"},
		{"a stranger", mutual, securedConn{state: ofStranger}, "the peer's certificate is not the one from the handshake"},
		{"credentials without TLS", Plaintext(), securedConn{state: complete}, "came without its TLS handshake"},
	} {
		for role, shake := range roles(t, tt.creds.ByTransport()) {
			if conn, _, err := shake(tt.conn); conn != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s, %s: %v, %v; want an error that says %q", tt.name, role, conn, err, tt.want)
			}
		}
	}
}

// A user's own configuration may verify the peer only in the handshake.
func TestByTransportWithOwnTLS(t *testing.T) {
	state, _ := shaken(t, identity(t), identity(t))
	creds := OwnTLS(handshake.SecurityTLS, &tls.Config{MinVersion: tls.VersionTLS13}).ByTransport()
	for role, shake := range roles(t, creds) {
		_, info, err := shake(securedConn{state: state})
		if err != nil {
			t.Errorf("%s: %v", role, err)
			continue
		}
		if got := info.Security; got != handshake.SecurityTLS {
			t.Errorf("%s: authenticated by %s", role, got)
		}
	}
}

func TestKnown(t *testing.T) {
	state, _ := shaken(t, identity(t), identity(t))
	for name, info := range map[string]Info{
		"TLS":              {Security: handshake.SecurityMTLS, UID: -1, TLS: &state, Owner: "owner"},
		"peer credentials": {Security: handshake.SecurityPeerCred, UID: 7, Owner: "owner"},
	} {
		creds := Known(info)
		if got := creds.Security(); got != info.Security {
			t.Errorf("%s: %s", name, got)
		}
		for role, shake := range roles(t, creds) {
			given := &securedConn{} // the handshake must not read or write on it
			conn, got, err := shake(given)
			if err != nil || conn != net.Conn(given) {
				t.Errorf("%s, %s: %v, %v", name, role, conn, err)
			}
			if got != info {
				t.Errorf("%s, %s: %+v, want %+v", name, role, got, info)
			}
		}
	}
}
