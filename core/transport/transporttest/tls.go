package transporttest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// tlsPair is what core gives to the two sides of a Native transport: each has
// a one-time certificate and accepts the other's only. For any other transport
// both are nil.
//
// The suite makes its own certificates, so that a tested module needs only the
// contract from core.
type tlsPair struct {
	plugin, host *tls.Config
}

// serverName is the name in every certificate, whatever the address.
const serverName = "localhost"

func newTLSPair() (tlsPair, error) {
	plugin, err := newCertificate()
	if err != nil {
		return tlsPair{}, err
	}
	host, err := newCertificate()
	if err != nil {
		return tlsPair{}, err
	}
	return tlsPair{plugin: pinned(plugin, host), host: pinned(host, plugin)}, nil
}

// newCertificate makes a P-256 key and its self-signed certificate.
func newCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("one-time key: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: serverName},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(time.Hour),
		DNSNames:     []string{serverName},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("one-time certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// pinned returns a configuration for either role that presents own and accepts
// peer.
func pinned(own, peer tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates:       []tls.Certificate{own},
		MinVersion:         tls.VersionTLS12,
		ServerName:         serverName,
		ClientAuth:         tls.RequireAnyClientCert,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection is stricter
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || !bytes.Equal(state.PeerCertificates[0].Raw, peer.Certificate[0]) {
				return errors.New("the peer's certificate is not the pinned one")
			}
			return nil
		},
		SessionTicketsDisabled: true,
		CurvePreferences:       []tls.CurveID{tls.X25519, tls.CurveP256},
	}
}
