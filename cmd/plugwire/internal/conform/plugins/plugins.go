// Package plugins has the rules for plugins in any language.
package plugins

import (
	"github.com/spf13/pflag"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/preset"
)

// suite is the rules, and what its flags say about the plugin.
type suite struct {
	preset   string
	cookie   string
	versions []int

	cookieName, cookieValue string // by the flags
}

// The cookie that a plugin has whose author has chosen no other.
const (
	defaultCookieName  = "PLUGIN_MAGIC_COOKIE"
	defaultCookieValue = "plugwire"
)

// Suite returns the rules.
func Suite() *conform.Suite {
	s := &suite{}
	return &conform.Suite{
		Kind:    "plugin",
		Long:    "Plugin starts a program that is a plugin, and plays its hosts.",
		Rules:   s.handshakeRules(),
		Flags:   s.flags,
		Prepare: s.prepare,
	}
}

func (s *suite) flags(flags *pflag.FlagSet) {
	flags.StringVar(&s.preset, "preset", "", "cookie and versions of an `application`: plugwire presets lists them")
	flags.StringVar(&s.cookie, "cookie", "", "cookie by which the plugin knows its host, as `NAME=VALUE`")
	flags.IntSliceVar(&s.versions, "protocol-version", nil, "`versions` of the protocol to offer (default 1 to 64, or the preset's)")
}

// maxVersions is how many versions a host offers at most. A plugin ignores more.
const maxVersions = 64

// prepare reads the flags.
func (s *suite) prepare([]string) error {
	s.cookieName, s.cookieValue = defaultCookieName, defaultCookieValue
	if s.preset != "" {
		p, err := preset.Find(s.preset)
		if err != nil {
			return output.Usage("-preset: %v", err)
		}
		s.cookieName, s.cookieValue = p.Cookie, p.Value
		if len(s.versions) == 0 {
			s.versions = p.Versions
		}
	}
	if s.cookie != "" {
		name, value, ok := cut(s.cookie)
		if !ok {
			return output.Usage("-cookie %q: want NAME=VALUE", s.cookie)
		}
		s.cookieName, s.cookieValue = name, value
	}
	if len(s.versions) > maxVersions {
		return output.Usage("-protocol-version: a host offers at most %d versions", maxVersions)
	}
	if len(s.versions) == 0 {
		for v := range maxVersions {
			s.versions = append(s.versions, v+1)
		}
	}
	return nil
}
