package secure

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// KeyDER returns the key in PKCS #8, for [ParseIdentity]. It is what makes an
// identity, so it goes only where this process's user wants it to.
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
		return nil, errors.New("the key is not one in PKCS #8")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", key)
	}
	public, ok := signer.Public().(interface {
		Equal(other crypto.PublicKey) bool
	})
	if !ok || !public.Equal(cert.PublicKey) {
		return nil, errors.New("the key is not that of the certificate")
	}
	return &Identity{cert: tls.Certificate{Certificate: [][]byte{certDER}, PrivateKey: key}}, nil
}
