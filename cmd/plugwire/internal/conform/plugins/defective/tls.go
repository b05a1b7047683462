//go:build unix

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"time"
)

// tlsFault is TLS of the program's own under a foreign host, with a mistake.
type tlsFault struct {
	always         bool // also if the host has no certificate
	anyone         bool // a client needs no certificate
	anyCertificate bool // a client needs one, whichever
	name           string
	short          bool // the certificate holds from now on, for a moment
	p384           bool
	onlyP256       bool // a host's certificate must have this curve

	config *tls.Config
	der    []byte
}

// tlsDefect makes a defect. The plugin itself then serves without TLS.
func tlsDefect(fault tlsFault) defect {
	host := os.Getenv("PLUGIN_CLIENT_CERT")
	if os.Getenv(offer) != "" || host == "" && !fault.always {
		return defect{}
	}
	f := &fault
	return defect{
		variable: change("PLUGIN_CLIENT_CERT", nothing),
		begin: func(p *broken) {
			must(f.prepare(host))
			p.tls = f
		},
		answer: func(line string) string { return withCertificate(line, f.der) + "\n" },
	}
}

// prepare makes the certificate.
func (f *tlsFault) prepare(host string) error {
	curve := elliptic.P256()
	if f.p384 {
		curve = elliptic.P384()
	}
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		return err
	}
	name := "localhost"
	if f.name != "" {
		name = f.name
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(30, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IsCA:        true, BasicConstraintsValid: true,
	}
	if f.short {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	if f.der, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key); err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(host))
	f.config = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{f.der}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: roots,
		NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12,
	}
	switch {
	case f.anyone:
		f.config.ClientAuth = tls.NoClientCert
	case f.anyCertificate:
		f.config.ClientAuth = tls.RequireAnyClientCert
	}
	if block, _ := pem.Decode([]byte(host)); f.onlyP256 && block != nil {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		if k, ok := cert.PublicKey.(*ecdsa.PublicKey); ok && k.Curve != elliptic.P256() {
			f.config.VerifyConnection = func(tls.ConnectionState) error { return errors.New("a curve that is not P-256") }
		}
	}
	return nil
}

// serve returns a connection on which TLS is spoken.
func (f *tlsFault) serve(c *net.UnixConn) net.Conn { return tlsConn{tls.Server(c, f.config), c} }

// tlsConn is a TLS connection whose socket can be asked for its peer.
type tlsConn struct {
	*tls.Conn
	socket *net.UnixConn
}
