package secure

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
)

// serverName is the name in every certificate, whatever the address.
// go-plugin's hosts and plugins verify it (client.go and server.go there).
const serverName = "localhost"

// certLife is how long a one-time certificate is valid. The key is lost with
// the process. The certificate must outlive the longest-running plugin, because
// a peer that verifies dates does so on each new connection.
const certLife = 30 * 365 * 24 * time.Hour

// clockSkew is how far back a certificate is dated, for a peer that verifies
// dates by a clock of its own (a container or a virtual machine).
const clockSkew = time.Hour

// Identity is a one-time key and its self-signed certificate.
type Identity struct {
	cert tls.Certificate
}

// NewIdentity makes a P-256 identity: the one curve that every TLS stack in use
// accepts for client certificates (P-521, which go-plugin uses, is not offered
// by BoringSSL).
func NewIdentity() (*Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("one-time key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("one-time certificate: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: serverName, Organization: []string{"Plugwire"}},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(certLife),
		DNSNames:              []string{serverName},
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true, // peers put the certificate into a pool of roots
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("one-time certificate: %w", err)
	}
	return &Identity{cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}, nil
}

// DER returns the certificate in the form for an answer.
func (id *Identity) DER() []byte { return id.cert.Certificate[0] }

// PEM returns the certificate in the form for an offer.
func (id *Identity) PEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.DER()}))
}

// ParsePEM returns the DER of the one certificate in text.
func ParsePEM(text string) ([]byte, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no certificate in PEM form")
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return nil, err
	}
	return block.Bytes, nil
}

// MutualTLS authenticates with id, and accepts only the peer whose certificate
// is peerDER.
func MutualTLS(id *Identity, peerDER []byte) *Credentials {
	cfg := &tls.Config{
		Certificates: []tls.Certificate{id.cert},
		MinVersion:   tls.VersionTLS12, // the oldest version of go-plugin's peers
		ServerName:   serverName,
		ClientAuth:   tls.RequireAnyClientCert,
		// The pin is stricter than any chain: one certificate, byte for byte,
		// without a clock.
		InsecureSkipVerify: true, //nolint:gosec // see the line above
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || !bytes.Equal(state.PeerCertificates[0].Raw, peerDER) {
				return errors.New("the peer's certificate is not the one from the handshake")
			}
			return nil
		},
		SessionTicketsDisabled: true, // no peer resumes a session
		// The post-quantum hybrid is not offered, because it makes each start
		// slower. It protects recorded traffic from decryption in decades, and
		// this traffic stays on one machine.
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256},
	}
	return OwnTLS(handshake.SecurityMTLS, cfg)
}

// OwnTLS authenticates with the user's configuration, which is cloned. security
// is its name in the handshake.
func OwnTLS(security string, cfg *tls.Config) *Credentials {
	cfg = cfg.Clone()
	cfg.NextProtos = nil // see WithALPN
	if cfg.ServerName == "" {
		cfg.ServerName = serverName
	}
	return byTLS(security, cfg)
}

// WithALPN returns a copy whose TLS handshakes negotiate protocol (RFC 7301), if there
// are any.
func (c *Credentials) WithALPN(protocol string) *Credentials {
	if c.config == nil {
		return c
	}
	cfg := c.config.Clone()
	cfg.NextProtos = []string{protocol}
	d := byTLS(c.security, cfg)
	d.owner = c.owner
	return d
}

func byTLS(security string, cfg *tls.Config) *Credentials {
	return &Credentials{
		security: security,
		config:   cfg,
		client: func(ctx context.Context, conn net.Conn) (net.Conn, Info, error) {
			return handshakeTLS(ctx, tls.Client(conn, cfg))
		},
		server: func(conn net.Conn) (net.Conn, Info, error) {
			return handshakeTLS(context.Background(), tls.Server(conn, cfg))
		},
	}
}

func handshakeTLS(ctx context.Context, conn *tls.Conn) (net.Conn, Info, error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, Info{}, fmt.Errorf("TLS handshake: %w", err)
	}
	state := conn.ConnectionState()
	return conn, infoOf(&state), nil
}
