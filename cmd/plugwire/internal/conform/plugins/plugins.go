// Package plugins has the rules for plugins in any language.
package plugins

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/preset"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/target"
)

// suite is the rules, and what its flags say about the plugin.
type suite struct {
	preset   string
	cookie   string
	versions []int
	// prints is a method that prints on standard output and standard error; may be empty.
	prints       string
	startTimeout time.Duration // until the answer
	grace        time.Duration // until the plugin has ended
	callTimeout  time.Duration // until a call, or anything else on a connection, is answered
	life         time.Duration // until the plugin has ended after its host

	cookieName, cookieValue string // by the flags
}

// The cookie that a plugin has whose author has chosen no other.
const (
	defaultCookieName  = "PLUGIN_MAGIC_COOKIE"
	defaultCookieValue = "plugwire"
)

// Suite returns the rules.
func Suite() *conform.Suite {
	_, rules := newSuite()
	return rules
}

// newSuite returns the rules, and what tests of them change.
func newSuite() (*suite, *conform.Suite) {
	s := &suite{startTimeout: defaultStartTimeout, grace: defaultGrace, callTimeout: defaultGrace, life: defaultGrace}
	return s, &conform.Suite{
		Kind: "plugin",
		Long: "Plugin starts a program that is a plugin, and plays its hosts.",
		Rules: slices.Concat(s.handshakeRules(), s.refusalRules(), s.transportRules(), s.securityRules(), s.callRules(),
			s.stopRules(), s.lifeRules(), s.foreignRules(), s.hostileRules(), s.wireRules()),
		Roles:   roles,
		Flags:   s.flags,
		Prepare: s.prepare,
	}
}

func (s *suite) flags(flags *pflag.FlagSet) {
	flags.StringVar(&s.preset, "preset", "", "cookie and versions of an `application`: plugwire presets lists them")
	flags.StringVar(&s.cookie, "cookie", "", "cookie by which the plugin knows its host, as `NAME=VALUE`")
	flags.IntSliceVar(&s.versions, "protocol-version", nil, "`versions` of the protocol to offer (default 1 to 64, or the preset's)")
	flags.StringVar(&s.prints, "prints", "", "unary `method` that prints on standard output and standard error; field 1 of its request gets a text")
	flags.DurationVar(&s.startTimeout, "start-timeout", s.startTimeout, "how long the plugin may take for its answer")
	flags.DurationVar(&s.grace, "grace", s.grace, "how long the plugin may take to end")
}

// The waits of checks. A plugin needs a fraction of them, but a machine may be busy.
const (
	defaultStartTimeout = 20 * time.Second
	defaultGrace        = 10 * time.Second
)

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
		name, value, ok := strings.Cut(s.cookie, "=")
		if !ok || name == "" {
			return output.Usage("-cookie %q: want NAME=VALUE", s.cookie)
		}
		s.cookieName, s.cookieValue = name, value
	}
	if s.prints != "" && !target.IsMethod(s.prints) {
		return output.Usage("-prints %q: want pkg.Service/Method", s.prints)
	}
	if s.prints != "" {
		s.prints = "/" + strings.TrimPrefix(s.prints, "/")
	}
	if s.startTimeout <= 0 || s.grace <= 0 {
		return output.Usage("-start-timeout and -grace must be positive")
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
