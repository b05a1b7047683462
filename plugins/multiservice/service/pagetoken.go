package service

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// A page token is base64url of a version, a sum, and the last key of the page
// before. So it needs nothing in the plugin's memory. The sum detects a damaged
// token and one for another prefix. It is not a signature, because a forged
// token only skips keys that the caller may read anyway.
const (
	tokenVersion = 1
	// tokenSum is the length of the sum, long enough to detect any accidental
	// change.
	tokenSum    = 8
	tokenHeader = 1 + tokenSum
)

var tokenEncoding = base64.RawURLEncoding

// encodePageToken returns the token for the page after the key last in a query
// for prefix.
func encodePageToken(prefix, last string) string {
	text := binary.AppendUvarint([]byte{tokenVersion}, uint64(len(prefix)))
	text = append(append(text, prefix...), last...)
	sum := sha256.Sum256(text)
	token := append([]byte{tokenVersion}, sum[:tokenSum]...)
	return tokenEncoding.EncodeToString(append(token, last...))
}

// decodePageToken returns the key after which the page begins. It reports
// whether encodePageToken returns this token for prefix.
func decodePageToken(prefix, token string) (last string, ok bool) {
	if len(token) > tokenEncoding.EncodedLen(tokenHeader+maxKey) {
		return "", false
	}
	decoded, err := tokenEncoding.DecodeString(token)
	if err != nil || len(decoded) <= tokenHeader {
		return "", false
	}
	last = string(decoded[tokenHeader:])
	if !utf8.ValidString(last) || !strings.HasPrefix(last, prefix) || encodePageToken(prefix, last) != token {
		return "", false
	}
	return last, true
}
