package secure

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"strings"
	"testing"
)

func TestParseIdentity(t *testing.T) {
	t.Parallel()
	var ids []*Identity
	var keys [][]byte
	for range 2 {
		id, err := NewIdentity()
		if err != nil {
			t.Fatal(err)
		}
		key, err := id.KeyDER()
		if err != nil {
			t.Fatal(err)
		}
		ids, keys = append(ids, id), append(keys, key)
	}
	got, err := ParseIdentity(ids[0].DER(), keys[0])
	if err != nil {
		t.Fatal(err)
	}
	if key, err := got.KeyDER(); err != nil || !bytes.Equal(key, keys[0]) || !bytes.Equal(got.DER(), ids[0].DER()) {
		t.Errorf("parsed to another identity, %v", err)
	}
	ecdhKey, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	noSigner, err := x509.MarshalPKCS8PrivateKey(ecdhKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name      string
		cert, key []byte
		want      string
	}{
		{"no certificate", nil, keys[0], "certificate: "},
		{"no key", ids[0].DER(), nil, "not in PKCS #8 form"},
		{"another's key", ids[0].DER(), keys[1], "does not belong to the certificate"},
		{"a key that cannot sign", ids[0].DER(), noSigner, "cannot sign"},
	} {
		if id, err := ParseIdentity(tt.cert, tt.key); id != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, %v; want an error with %q", tt.name, id, err, tt.want)
		}
	}
}
