package manifest

import (
	"crypto"
	_ "crypto/sha256" // for crypto.Hash.New
	_ "crypto/sha512" // for crypto.Hash.New
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// hashes are those of host.WithChecksum, by their names in a manifest.
var hashes = map[string]crypto.Hash{"sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}

// parseChecksum returns the parts of "sha256:...".
func parseChecksum(text string) (crypto.Hash, []byte, error) {
	name, digits, ok := strings.Cut(text, ":")
	hash := hashes[name]
	if !ok || hash == 0 {
		return 0, nil, fmt.Errorf("the checksum %.80q does not begin with the name of a hash and a colon: %s",
			text, strings.Join(slices.Sorted(maps.Keys(hashes)), ", "))
	}
	sum, err := hex.DecodeString(digits)
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("the checksum %.80q is not hexadecimal: %w", text, err)
	case len(sum) != hash.Size():
		return 0, nil, fmt.Errorf("the checksum %.80q has %d bytes, and one of %s has %d", text, len(sum), name, hash.Size())
	}
	return hash, sum, nil
}

// checksumOf returns the checksum of a program, by the hash of another checksum or, if that
// is empty, by SHA-256.
func checksumOf(path, like string) (string, error) {
	name := "sha256"
	if like != "" {
		name, _, _ = strings.Cut(like, ":")
	}
	f, _, err := openRegular(path)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	sum := hashes[name].New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return name + ":" + hex.EncodeToString(sum.Sum(nil)), nil
}
