//go:build unix

package foreign_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// TestClientCertificate connects clients with the host's certificate, with
// another one, and with none.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P521()} { // the curves of our certificates, and of go-plugin's
		t.Run(curve.Params().Name, func(t *testing.T) {
			t.Parallel()
			for _, s := range stacks {
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					s.require(t)
					certificate := newCertificate(t, curve)
					block := &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}
					p := start(t, s, "PLUGIN_CLIENT_CERT="+string(pem.EncodeToMemory(block)))
					defer p.terminate(t)
					if err := checkHealth(t, p.answer, certificate); err != nil {
						t.Errorf("with the host's certificate: %v", err)
					}
					if err := checkHealth(t, p.answer, newCertificate(t, curve)); err == nil {
						t.Error("a client with another certificate was let in")
					}
					if err := checkHealth(t, p.answer); err == nil {
						t.Error("a client without a certificate was let in")
					}
				})
			}
		})
	}
}

// newCertificate makes a certificate like a host's.
func newCertificate(t *testing.T, curve elliptic.Curve) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "localhost"},
		DNSNames:              []string{"localhost"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// checkHealth connects like a go-plugin host: it verifies the chain and the
// name.
func checkHealth(t *testing.T, answer []string, certificates ...tls.Certificate) error {
	t.Helper()
	if len(answer) != 6 {
		t.Fatalf("answer %q has no certificate", answer)
	}
	der, err := base64.RawStdEncoding.DecodeString(answer[5])
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	creds := credentials.NewTLS(&tls.Config{Certificates: certificates, RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12})
	conn, err := grpc.NewClient(answer[2]+":"+answer[3], grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	resp, err := healthpb.NewHealthClient(conn).Check(testContext(t), &healthpb.HealthCheckRequest{Service: "plugin"})
	if err == nil && resp.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health is %v", resp.GetStatus())
	}
	return err
}
