package plugin

import (
	"crypto"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"os"

	"github.com/plugwire/plugwire/core/host"
)

// Check reports whether the file has the checksum.
func (s *SecureConfig) Check(filePath string) (bool, error) {
	return s.check(filePath, io.Discard)
}

// check is Check. copied gets the bytes that were checked.
func (s *SecureConfig) check(path string, copied io.Writer) (bool, error) {
	switch {
	case len(s.Checksum) == 0:
		return false, ErrSecureConfigNoChecksum
	case s.Hash == nil:
		return false, ErrSecureConfigNoHash
	}
	file, err := os.Open(path) //nolint:gosec // the user names the program
	if err != nil {
		return false, err
	}
	defer file.Close() //nolint:errcheck // opened for reading
	s.Hash.Reset()
	defer s.Hash.Reset()
	if _, err := io.Copy(io.MultiWriter(s.Hash, copied), file); err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(s.Hash.Sum(nil), s.Checksum) == 1, nil
}

// verified checks the program, and returns the option that runs exactly the bytes that were
// checked: the file can change until it is run. The hash can be any, so the option has a sum
// of its own.
func (s *SecureConfig) verified(path string) (host.Option, error) {
	sum := sha256.New()
	switch ok, err := s.check(path, sum); {
	case err != nil:
		return nil, fmt.Errorf("error verifying checksum: %w", err)
	case !ok:
		return nil, ErrChecksumsDoNotMatch
	}
	return host.WithChecksum(crypto.SHA256, sum.Sum(nil)), nil
}
