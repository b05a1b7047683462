package secure

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plugwire/plugwire/core/handshake"
)

func TestMain(m *testing.M) {
	if runChild() {
		return
	}
	goleak.VerifyTestMain(m)
}

// side is the result of the handshake on one side of a connection.
type side struct {
	conn net.Conn
	info Info
	err  error
}

// meet runs both halves of a handshake over conns. Then each side sends the
// other a byte: in TLS 1.3 the client learns only after its own half whether
// the server accepts it.
func meet(t *testing.T, client, server *Credentials, conns func(*testing.T) (client, server net.Conn)) (c, s side) {
	t.Helper()
	cc, sc := conns(t)
	deadline := time.Now().Add(time.Minute)
	for _, conn := range []net.Conn{cc, sc} {
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan side, 1)
	go func() {
		var s side
		s.conn, s.info, s.err = server.Server(sc)
		exchange(sc, &s)
		done <- s
	}()
	c.conn, c.info, c.err = client.Client(t.Context(), cc)
	exchange(cc, &c)
	s = <-done
	if err := errors.Join(c.err, s.err); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the two sides waited for each other: %v", err)
	}
	return c, s
}

func exchange(raw net.Conn, s *side) {
	if s.err != nil {
		_ = raw.Close()
		return
	}
	wrote := make(chan error, 1)
	go func() {
		_, err := s.conn.Write([]byte{42})
		wrote <- err
	}()
	_, err := io.ReadFull(s.conn, make([]byte, 1))
	s.err = errors.Join(err, <-wrote)
	if s.err != nil {
		_ = raw.Close()
	}
}

// pipe has no buffer. It is for handshakes that succeed: if both sides write at
// once, as in TLS when one side gives up while the other sends, both block.
func pipe(*testing.T) (client, server net.Conn) { return net.Pipe() }

func unixSocket(t *testing.T) (client, server net.Conn) {
	t.Helper()
	return dial(t, "unix", filepath.Join(t.TempDir(), "s"))
}

func loopback(t *testing.T) (client, server net.Conn) {
	t.Helper()
	return dial(t, "tcp", "127.0.0.1:0")
}

func dial(t *testing.T, network, address string) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	// The kernel completes a connection before it is accepted.
	if client, err = net.Dial(network, ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func identity(tb testing.TB) *Identity {
	tb.Helper()
	id, err := NewIdentity()
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

func TestMutualTLS(t *testing.T) {
	for name, conns := range map[string]func(*testing.T) (client, server net.Conn){"pipe": pipe, "unix": unixSocket, "tcp": loopback} {
		t.Run(name, func(t *testing.T) {
			host, plugin := identity(t), identity(t)
			c, s := meet(t, MutualTLS(host, plugin.DER()), MutualTLS(plugin, host.DER()), conns)
			for name, side := range map[string]side{"client": c, "server": s} {
				if side.err != nil {
					t.Fatalf("%s: %v", name, side.err)
				}
				checkTLS(t, name, side.info, handshake.SecurityMTLS)
			}
		})
	}
}

func checkTLS(t *testing.T, name string, info Info, security string) {
	t.Helper()
	if info.Security != security || info.UID != -1 {
		t.Errorf("%s: info %+v", name, info)
	}
	switch {
	case info.TLS == nil:
		t.Errorf("%s: no TLS state", name)
	case info.TLS.Version < tls.VersionTLS12 || info.TLS.ServerName != "localhost":
		t.Errorf("%s: version %x, server name %q", name, info.TLS.Version, info.TLS.ServerName)
	}
}

const wrongPin = "the peer's certificate is not the one from the handshake"

func TestMutualTLSRefusesAnotherCertificate(t *testing.T) {
	host, plugin, stranger := identity(t), identity(t), identity(t)
	t.Run("the server's", func(t *testing.T) {
		c, s := meet(t, MutualTLS(host, plugin.DER()), MutualTLS(stranger, host.DER()), unixSocket)
		if c.err == nil || !strings.Contains(c.err.Error(), wrongPin) {
			t.Errorf("client: %v", c.err)
		}
		if s.err == nil {
			t.Error("the server took the connection")
		}
	})
	t.Run("the client's", func(t *testing.T) {
		c, s := meet(t, MutualTLS(stranger, plugin.DER()), MutualTLS(plugin, host.DER()), unixSocket)
		if s.err == nil || !strings.Contains(s.err.Error(), wrongPin) {
			t.Errorf("server: %v", s.err)
		}
		if c.err == nil {
			t.Error("the client got an answer")
		}
	})
}

func TestMutualTLSRefusesAClientWithoutCertificate(t *testing.T) {
	host, plugin := identity(t), identity(t)
	c, s := meet(t, OwnTLS("test", &tls.Config{InsecureSkipVerify: true}), MutualTLS(plugin, host.DER()), unixSocket)
	if s.err == nil || !strings.Contains(s.err.Error(), "client didn't provide a certificate") {
		t.Errorf("server: %v", s.err)
	}
	if c.err == nil {
		t.Error("the client got an answer")
	}
}

// A peer that has the certificate but not its key is refused.
func TestMutualTLSRefusesAStolenCertificate(t *testing.T) {
	host, plugin := identity(t), identity(t)
	thief := *identity(t)
	thief.cert.Certificate = host.cert.Certificate
	c, s := meet(t, MutualTLS(&thief, plugin.DER()), MutualTLS(plugin, host.DER()), unixSocket)
	if c.err == nil || s.err == nil {
		t.Errorf("client: %v, server: %v; want an error on both", c.err, s.err)
	}
}

func TestMutualTLSRefusesPlaintext(t *testing.T) {
	ours, theirs := net.Pipe()
	wrote := make(chan error, 1)
	go func() {
		_, err := io.WriteString(theirs, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
		wrote <- err
	}()
	id := identity(t)
	_, _, err := MutualTLS(id, id.DER()).Server(ours)
	if err == nil || !strings.Contains(err.Error(), "does not look like a TLS handshake") {
		t.Errorf("got %v, want plaintext refused", err)
	}
	if err := errors.Join(ours.Close(), theirs.Close()); err != nil {
		t.Fatal(err)
	}
	<-wrote // the rest of the text was cut off
}

// go-plugin makes P-521 keys, and a TLS configuration that verifies the peer
// through a pool of one (mtls.go, client.go and server.go there).
func TestMutualTLSWithGoPlugin(t *testing.T) {
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			theirs, ours := goPluginCertificate(t), identity(t)
			pool := x509.NewCertPool()
			if !pool.AppendCertsFromPEM([]byte(ours.PEM())) {
				t.Fatal("go-plugin could not read the certificate")
			}
			foreign := OwnTLS("foreign", &tls.Config{
				Certificates: []tls.Certificate{theirs}, ClientAuth: tls.RequireAndVerifyClientCert,
				MinVersion: tls.VersionTLS12, MaxVersion: version, ServerName: "localhost", RootCAs: pool, ClientCAs: pool,
			})
			us := MutualTLS(ours, theirs.Certificate[0])
			t.Run("as host", func(t *testing.T) { checkMeeting(t, foreign, us) })
			t.Run("as plugin", func(t *testing.T) { checkMeeting(t, us, foreign) })
		})
	}
}

func checkMeeting(t *testing.T, client, server *Credentials) {
	t.Helper()
	c, s := meet(t, client, server, unixSocket)
	if c.err != nil || s.err != nil {
		t.Errorf("client: %v, server: %v", c.err, s.err)
	}
}

func TestTLS11IsRefused(t *testing.T) {
	host, plugin := identity(t), identity(t)
	old := OwnTLS("old", &tls.Config{Certificates: []tls.Certificate{host.cert}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	c, s := meet(t, old, MutualTLS(plugin, host.DER()), unixSocket)
	if c.err == nil || s.err == nil {
		t.Errorf("client: %v, server: %v; want an error on both", c.err, s.err)
	}
}

// goPluginCertificate makes a certificate like go-plugin's.
func goPluginCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "localhost", Organization: []string{"HashiCorp"}},
		NotBefore:             time.Now().Add(-30 * time.Second),
		NotAfter:              time.Now().Add(262980 * time.Hour),
		DNSNames:              []string{"localhost"},
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestOwnTLSDoesNotKeepTheConfiguration(t *testing.T) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS13}
	creds := OwnTLS(handshake.SecurityTLS, cfg)
	if cfg.NextProtos != nil || cfg.ServerName != "" {
		t.Errorf("the caller's configuration was changed: %v %q", cfg.NextProtos, cfg.ServerName)
	}
	if creds.Security() != handshake.SecurityTLS {
		t.Errorf("security %q", creds.Security())
	}
}

func TestClientHandshakeEndsWithItsContext(t *testing.T) {
	errGivenUp := errors.New("given up")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errGivenUp)
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	id := identity(t)
	if _, _, err := MutualTLS(id, id.DER()).Client(ctx, ours); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestPlaintext(t *testing.T) {
	c, s := meet(t, Plaintext(), Plaintext(), unixSocket)
	for name, side := range map[string]side{"client": c, "server": s} {
		if side.err != nil {
			t.Fatalf("%s: %v", name, side.err)
		}
		info := side.info
		if info.Security != handshake.SecurityNone || info.UID != -1 || info.TLS != nil {
			t.Errorf("%s: info %+v", name, info)
		}
	}
}

func TestIdentity(t *testing.T) {
	id := identity(t)
	cert, err := x509.ParseCertificate(id.DER())
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("key %T, want P-256", cert.PublicKey)
	}
	if err := cert.VerifyHostname("localhost"); err != nil {
		t.Error(err)
	}
	now := time.Now()
	if !cert.NotBefore.Before(now) || !cert.NotAfter.After(now.AddDate(29, 0, 0)) {
		t.Errorf("valid from %v to %v", cert.NotBefore, cert.NotAfter)
	}
	// A peer that puts the certificate into a pool of roots must accept it in
	// both roles.
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: "localhost", KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			t.Errorf("usage %v: %v", usage, err)
		}
	}
	if other := identity(t); other.PEM() == id.PEM() {
		t.Error("two identities are the same")
	}
}

func TestParsePEM(t *testing.T) {
	id := identity(t)
	der, err := ParsePEM(id.PEM())
	if err != nil || string(der) != string(id.DER()) {
		t.Errorf("ParsePEM of PEM: %x, %v", der, err)
	}
	// A wrapper that rewrites line ends or adds text does no harm.
	if _, err := ParsePEM("host\n" + strings.ReplaceAll(id.PEM(), "\n", "\r\n") + "\n\n"); err != nil {
		t.Errorf("CRLF: %v", err)
	}
	for name, text := range map[string]string{
		"nothing":             "",
		"words":               "true",
		"base64 alone":        strings.Join(strings.Split(id.PEM(), "\n")[1:8], ""),
		"cut off":             id.PEM()[:len(id.PEM())/2],
		"another block":       string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: id.DER()})),
		"no certificate":      string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("garbage")})),
		"half a certificate":  string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.DER()[:100]})),
		"bytes after the end": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: append(id.DER()[:len(id.DER()):len(id.DER())], 0)})),
		"an empty block":      string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE"})),
	} {
		if der, err := ParsePEM(text); err == nil {
			t.Errorf("%s: parsed as %x", name, der)
		}
	}
}

func TestOwner(t *testing.T) {
	plain := Plaintext()
	owner := new(int)
	c, s := meet(t, plain, plain.WithOwner(owner), unixSocket)
	if c.err != nil || s.err != nil {
		t.Fatal(c.err, s.err)
	}
	if s.info.Owner != owner {
		t.Errorf("owner %v, want the one that was set", s.info.Owner)
	}
	if c.info.Owner != nil {
		t.Error("WithOwner changed the credentials that it copied")
	}
}

func TestALPN(t *testing.T) {
	id := identity(t)
	owner := new(int)
	creds := MutualTLS(id, id.DER()).WithOwner(owner)
	c, s := meet(t, creds.WithALPN("x"), creds.WithALPN("x"), unixSocket)
	if c.err != nil || s.err != nil {
		t.Fatal(c.err, s.err)
	}
	if got := s.info.TLS.NegotiatedProtocol; got != "x" || s.info.Owner != owner {
		t.Errorf("negotiated %q with owner %v", got, s.info.Owner)
	}
	if c, s := meet(t, creds.WithALPN("x"), creds.WithALPN("y"), unixSocket); c.err == nil && s.err == nil {
		t.Error("sides with different protocols were connected")
	}
	if plain := Plaintext(); plain.WithALPN("x") != plain {
		t.Error("credentials without TLS were copied")
	}
}

// BenchmarkNewIdentity measures the cost of a start with TLS.
func BenchmarkNewIdentity(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		identity(b)
	}
}

func BenchmarkMutualTLS(b *testing.B) {
	host, plugin := identity(b), identity(b)
	client, server := MutualTLS(host, plugin.DER()), MutualTLS(plugin, host.DER())
	b.ReportAllocs()
	for b.Loop() {
		cc, sc := net.Pipe()
		done := make(chan error, 1)
		go func() {
			conn, _, err := server.Server(sc)
			if err == nil {
				_, err = conn.Write([]byte{42})
			}
			done <- err
		}()
		conn, _, err := client.Client(b.Context(), cc)
		if err == nil {
			_, err = io.ReadFull(conn, make([]byte, 1))
		}
		if err := errors.Join(err, <-done, cc.Close(), sc.Close()); err != nil {
			b.Fatal(err)
		}
	}
}
