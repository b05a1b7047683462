package service

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// A page token is base64url of a version, a sum, and the last key of the page
// before. So it needs nothing in the plugin's memory. The sum tells a token that
// was mutilated, or belongs to another prefix; it is no signature, as somebody
// who makes up a token only skips keys that the caller may read anyway.
const (
	tokenVersion = 1
	// tokenSum has enough bytes that no accident passes.
	tokenSum    = 8
	tokenHeader = 1 + tokenSum
)

var tokenEncoding = base64.RawURLEncoding

// encodePageToken returns the token for what follows the key last in a query for
// prefix.
func encodePageToken(prefix, last string) string {
	text := binary.AppendUvarint([]byte{tokenVersion}, uint64(len(prefix)))
	text = append(append(text, prefix...), last...)
	sum := sha256.Sum256(text)
	token := append([]byte{tokenVersion}, sum[:tokenSum]...)
	return tokenEncoding.EncodeToString(append(token, last...))
}

// decodePageToken returns the key after which the page begins, and whether token
// is one that encodePageToken returns for prefix.
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
