package secure

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// KeyDER returns the key in PKCS #8, for [ParseIdentity]. The key is secret:
// pass it only where this process's user wants it.
func (id *Identity) KeyDER() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(id.cert.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("one-time key: %w", err)
	}
	return der, nil
}

// ParseIdentity returns the identity of a certificate (DER) and its key (PKCS #8).
// Errors do not show the key.
func ParseIdentity(certDER, keyDER []byte) (*Identity, error) {
	cert, err := x509.ParseCertificate(certDER)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(keyDER)
	if err != nil {
		return nil, errors.New("the key is not in PKCS #8 form")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", key)
	}
	public, ok := signer.Public().(interface {
		Equal(other crypto.PublicKey) bool
	})
	if !ok || !public.Equal(cert.PublicKey) {
		return nil, errors.New("the key does not belong to the certificate")
	}
	return &Identity{cert: tls.Certificate{Certificate: [][]byte{certDER}, PrivateKey: key}}, nil
}
