//go:build unix

package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// ownCertificate writes a key and its certificate, which is its own root, to a
// file, and returns the configuration of a host that has the same.
func ownCertificate(tb testing.TB) (file string, cfg *tls.Config) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "e2e"},
		DNSNames:              []string{"localhost"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})...)
	file = filepath.Join(tb.TempDir(), "tls.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return file, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		RootCAs:      roots,
		MinVersion:   tls.VersionTLS13,
	}
}

// TestSecurity makes a call with each kind of security over unix.
func TestSecurity(t *testing.T) {
	t.Parallel()
	file, cfg := ownCertificate(t)
	for _, tt := range []struct {
		name string
		args []string
		opts []host.Option
		want string
	}{
		{name: "one-time certificates", opts: []host.Option{host.WithMutualTLS()}, want: handshake.SecurityMTLS},
		{name: "own TLS on both sides", args: []string{"-tls", file}, opts: []host.Option{host.WithTLSConfig(cfg)}, want: handshake.SecurityTLS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := launch(t, command("misbehave", tt.args...), tt.opts...)
			if p.Info().Security != tt.want {
				t.Errorf("security %s, want %s", p.Info().Security, tt.want)
			}
			if _, err := echopb.NewEchoClient(p).Unary(testContext(t), payload("x")); err != nil {
				t.Error(err)
			}
			_, err := echopb.NewEchoClient(p).Fail(testContext(t), fail("crash"))
			assertCrashed(t, err)
			waitFor(t, "Done", p.Done())
		})
	}
}

// TestTLSMismatch starts sides with different TLS configurations.
func TestTLSMismatch(t *testing.T) {
	t.Parallel()
	file, cfg := ownCertificate(t)
	_, other := ownCertificate(t)
	for _, tt := range []struct {
		name  string
		args  []string
		opts  []host.Option
		phase host.Phase
		says  []string
	}{
		{
			name: "the host alone", opts: []host.Option{host.WithTLSConfig(cfg)}, phase: host.PhaseHandshake,
			says: []string{"the plugin refused", "no security in common (host: tls; plugin: peercred)", "the host uses its own TLS configuration: give the plugin one with plugin.WithTLSConfig"},
		},
		{
			name: "the plugin alone", args: []string{"-tls", file}, phase: host.PhaseHandshake,
			says: []string{"the plugin refused", "no security in common (host: peercred, mtls; plugin: tls)", "the plugin uses its own TLS configuration: give the host one with host.WithTLSConfig"},
		},
		{
			name: "another root", args: []string{"-tls", file}, opts: []host.Option{host.WithTLSConfig(other)}, phase: host.PhaseConnect,
			says: []string{"unix/1: authenticate by tls", "certificate signed by unknown authority"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := startError(testContext(t), t, command("misbehave", tt.args...), tt.opts...)
			if e.Phase != tt.phase {
				t.Errorf("Phase = %q, want %q", e.Phase, tt.phase)
			}
			assertSays(t, e.Error(), tt.says...)
			var mismatch *handshake.Error
			if errors.As(e, &mismatch) != (tt.phase == host.PhaseHandshake) {
				t.Errorf("handshake error %v in phase %s", mismatch, e.Phase)
			}
		})
	}
}
