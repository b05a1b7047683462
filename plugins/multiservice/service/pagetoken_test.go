package service

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPageToken(t *testing.T) {
	for _, tt := range []struct{ prefix, last string }{
		{"", "a"},
		{"a", "a"},
		{"a", "ab"},
		{"a/", "a/\x00ä"},
		{"", strings.Repeat("k", maxKey)},
	} {
		token := encodePageToken(tt.prefix, tt.last)
		if last, ok := decodePageToken(tt.prefix, token); !ok || last != tt.last {
			t.Errorf("%q after %q: token %q is decoded as %q, %v", tt.prefix, tt.last, token, last, ok)
		}
		if _, ok := decodePageToken(tt.prefix+"b", token); ok {
			t.Errorf("%q after %q: the token is one of another prefix too", tt.prefix, tt.last)
		}
	}
	// The token distinguishes between the prefix and the key.
	if encodePageToken("a", "bc") == encodePageToken("ab", "c") {
		t.Error("two queries have the same token")
	}
}

// FuzzPageToken checks that any token of a caller is refused or is the token for
// that key, and that every token of encodePageToken is accepted.
func FuzzPageToken(f *testing.F) {
	f.Add("", "", "a")
	f.Add("", encodePageToken("", "a"), "a")
	f.Add("a", encodePageToken("a", "ab"), "ab")
	f.Add("a", encodePageToken("a", "ab")+"\n", "ab")
	f.Add("a", "AQ", "a")
	f.Add("é", encodePageToken("é", "é\xff"), "é\xff")
	f.Fuzz(func(t *testing.T, prefix, token, key string) {
		if last, ok := decodePageToken(prefix, token); ok {
			if !strings.HasPrefix(last, prefix) || !utf8.ValidString(last) || len(last) > maxKey || last == "" {
				t.Errorf("token %q leads to %q, which is no key with the prefix %q", token, last, prefix)
			}
			if again := encodePageToken(prefix, last); again != token {
				t.Errorf("token %q leads to %q, as does %q", token, last, again)
			}
		}
		valid := key != "" && len(key) <= maxKey && utf8.ValidString(key) && strings.HasPrefix(key, prefix)
		if last, ok := decodePageToken(prefix, encodePageToken(prefix, key)); ok != valid || ok && last != key {
			t.Errorf("the token of %q after %q is decoded as %q, %v", prefix, key, last, ok)
		}
	})
}
