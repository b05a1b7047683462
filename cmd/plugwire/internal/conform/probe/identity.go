package probe

import (
	"bytes"
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
)

// newCertificate returns a one-time certificate as docs/protocol.md, section 10, wants it.
func newCertificate(curve string) (*tls.Certificate, error) {
	c := map[string]elliptic.Curve{"": elliptic.P256(), "P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[curve]
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"Plugwire conform"}, CommonName: "localhost"},
		DNSNames:              []string{"localhost"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(30, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// ParseClientCert returns the DER of the certificate in PLUGIN_CLIENT_CERT.
func ParseClientCert(text string) (*x509.Certificate, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no certificate in PEM")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("more than one certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// encrypt does TLS as the server, and notes what the host did.
func encrypt(conn net.Conn, own *tls.Certificate, hosts *x509.Certificate, alpn string, s *Stream) (net.Conn, error) {
	s.TLS = true
	server := tls.Server(conn, &tls.Config{
		Certificates: []tls.Certificate{*own},
		MinVersion:   tls.VersionTLS12,
		ClientAuth:   tls.RequireAnyClientCert,
		NextProtos:   []string{alpn},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			s.ServerName = hello.ServerName
			return nil, nil
		},
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			s.SameCert = bytes.Equal(raw[0], hosts.Raw)
			if !s.SameCert {
				return errors.New("another certificate than that in PLUGIN_CLIENT_CERT")
			}
			return nil
		},
		SessionTicketsDisabled: true,
	})
	if err := server.Handshake(); err != nil { //nolint:noctx // the scene bounds the process
		return nil, fmt.Errorf("TLS: %w", err)
	}
	state := server.ConnectionState()
	s.TLSVersion, s.ALPN = state.Version, state.NegotiatedProtocol
	return server, nil
}
