package plugins

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

// The profiles of most rules: what every plugin does, whatever it is made with.
const all = conform.Minimal | conform.GoPlugin

// The rules that others need. One mistake in these would break all.
const (
	needAnswer = "protocol-6/answers"
	needOurs   = "protocol-4/plugwire-host"
	needHealth = "protocol-12/health"
	needMTLS   = "protocol-10/mtls"
	needFields = "protocol-6/extended"
)

// handshakeRules are about what the plugin reads, and the line that it prints.
func (s *suite) handshakeRules() []conform.Rule {
	return []conform.Rule{
		{
			Section: "protocol 2", Name: "versions-in-any-order", Profiles: all, Needs: []string{needAnswer},
			Title: "The plugin reads versions in any order, and takes the highest that it has.",
			Check: s.versionsInAnyOrder,
		},
		{
			Section: "protocol 2", Name: "other-items-of-versions", Profiles: conform.Minimal, Needs: []string{"protocol-2/versions-in-any-order"},
			Title: "The plugin skips items of the versions that are not numbers, and the spaces around items.",
			Check: func(ctx context.Context, c *conform.Case) error {
				plain := join(s.versions)
				_, err := s.sameVersion(ctx, c, plain, "x,, -1,"+strings.ReplaceAll(plain, ",", " , ")+" ,1e3")
				return err
			},
		},
		{
			Section: "protocol 4", Name: "plugwire-host", Profiles: all, Needs: []string{needAnswer, needHealth},
			Title: "The plugin answers a Plugwire host, and serves it.",
			Check: func(ctx context.Context, c *conform.Case) error {
				p, err := s.start(ctx, c, ours())
				if err != nil {
					return err
				}
				return p.serves(ctx, "under a Plugwire host")
			},
		},
		{
			Section: "protocol 4", Name: "unknown-values", Profiles: all, Needs: []string{needOurs},
			Title: "The plugin ignores unknown keys and unknown items of the offer.",
			Check: s.unknownValues,
		},
		{
			Section: "protocol 5", Name: "no-cookie", Profiles: all,
			Title: "Without its cookie, the plugin says on standard error that it is one, and ends with exit code 1.",
			Check: func(ctx context.Context, c *conform.Case) error {
				return s.refusesCookie(ctx, c, offer{noCookie: true})
			},
		},
		{
			Section: "protocol 5", Name: "wrong-cookie", Profiles: all,
			Title: "With another value of its cookie, the plugin says so on standard error, and ends with exit code 1.",
			Check: func(ctx context.Context, c *conform.Case) error {
				return s.refusesCookie(ctx, c, offer{cookieValue: s.cookieValue + "-not"})
			},
		},
		{
			Section: "protocol 5", Name: "no-version", Profiles: all, Needs: []string{needAnswer},
			Title: "If the plugin has no version of a foreign host, it answers with its lowest one.",
			Check: s.noVersion,
		},
		{
			Section: "protocol 6", Name: "answers", Profiles: all,
			Title: "The plugin answers with one line of six fields, and prints nothing before it.",
			Check: s.answers,
		},
		{
			Section: "protocol 6", Name: "unasked-certificate", Profiles: all, Needs: []string{needAnswer},
			Title: "The answer has no certificate if the host has sent none.",
			Check: func(ctx context.Context, c *conform.Case) error {
				p, err := s.start(ctx, c, offer{})
				if err == nil && p.cert != nil {
					err = conform.Fail("an empty field 6", "a certificate", "make one only if PLUGIN_CLIENT_CERT is there: hosts on go-plugin crash otherwise")
				}
				return err
			},
		},
		{
			Section: "protocol 6", Name: "seventh-field", Needs: []string{needAnswer},
			Title: "The answer has a seventh field if and only if PLUGIN_MULTIPLEX_GRPC is set.",
			Check: s.seventhField,
		},
		{
			Section: "protocol 6", Name: "extended", Needs: []string{needOurs},
			Title: "The answer to a Plugwire host has extended fields that keep to the offer.",
			Check: s.extended,
		},
	}
}

// refusesCookie checks that a plugin ends if its cookie is not right.
func (s *suite) refusesCookie(ctx context.Context, c *conform.Case, o offer) error {
	p, _, err := s.launch(c, &o)
	if err != nil {
		return err
	}
	const advice = "look for the cookie's variable first; without its value, write a sentence to standard error and exit with 1"
	bounded, cancel := context.WithTimeout(ctx, s.grace)
	defer cancel()
	printed, err := p.Stdout.Wait(bounded, func(b []byte) bool { return bytes.ContainsRune(b, '\n') })
	if err == nil && len(bytes.TrimSpace(printed)) > 0 {
		return conform.Fail("nothing on standard output", clip(strings.TrimSpace(string(printed))), advice)
	}
	if err := exits(ctx, s, p, 1); err != nil {
		return withAdvice(err, advice)
	}
	said, err := p.Stderr.Wait(ctx, func([]byte) bool { return false })
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(said)) == 0 {
		return conform.Fail("a sentence on standard error", "nothing", advice)
	}
	return nil
}

// versionsInAnyOrder offers the same versions from the lowest to the highest, and back.
func (s *suite) versionsInAnyOrder(ctx context.Context, c *conform.Case) error {
	sorted := slices.Sorted(slices.Values(s.versions))
	if len(sorted) == 1 {
		sorted = append(sorted, unlikelyVersion)
	}
	reversed := slices.Clone(sorted)
	slices.Reverse(reversed)
	taken, err := s.sameVersion(ctx, c, join(sorted), join(reversed))
	if err != nil {
		return err
	}
	// Without the version that it has taken and all below, it must have none.
	above := append(sorted[slices.Index(sorted, taken)+1:], unlikelyVersion)
	p, err := s.start(ctx, c, offer{versions: join(above)})
	if err == nil && slices.Contains(above, p.version) {
		return conform.Fail(fmt.Sprintf("version %d for PLUGIN_PROTOCOL_VERSIONS=%s", p.version, clip(join(sorted))), strconv.Itoa(taken), "take the highest version that both sides have")
	}
	return nil // how it answers a host without a common version is another rule
}

// sameVersion checks that all lists mean the same version, and returns it.
func (s *suite) sameVersion(ctx context.Context, c *conform.Case, lists ...string) (int, error) {
	first := 0
	for i, versions := range lists {
		p, err := s.start(ctx, c, offer{versions: versions})
		if err != nil {
			return 0, err
		}
		if i == 0 {
			first = p.version
		}
		if p.version != first || !slices.Contains(s.versions, p.version) {
			return 0, conform.Fail(fmt.Sprintf("version %d for PLUGIN_PROTOCOL_VERSIONS=%s", first, clip(versions)), strconv.Itoa(p.version),
				"take the highest version that both sides have")
		}
	}
	return first, nil
}

// unlikelyVersion is one that no plugin has.
const unlikelyVersion = 1 << 30

// noVersion offers a version that no plugin has.
func (s *suite) noVersion(ctx context.Context, c *conform.Case) error {
	p, err := s.start(ctx, c, offer{versions: strconv.Itoa(unlikelyVersion)})
	const advice = "answer with the lowest version: a foreign host can say what is wrong only if it gets an answer"
	if err != nil {
		return withAdvice(err, advice)
	}
	if p.version == unlikelyVersion {
		return conform.Fail("a version that the plugin has", strconv.Itoa(p.version), advice)
	}
	return nil
}

// unknownValues offers things that nobody knows, before those that the plugin may know.
func (s *suite) unknownValues(ctx context.Context, c *conform.Case) error {
	o := ours("transports", "carrier/7,,unix/9,unix/1,tcp/1,tcp/1", "sessions", "bonded,direct", "wires", "smoke/3,h2", "security", "handshake,peercred,mtls",
		"x-conform", "a%2Cb", "callbacks", "yes", "identities", "")
	o.transports = "carrier,unix,,tcp,Not A Name"
	o.vars = []string{"PLUGIN_CONFORM=1"}
	p, err := s.start(ctx, c, o)
	if err != nil {
		return withAdvice(err, "skip what is not known: newer hosts offer more")
	}
	return p.serves(ctx, "after an offer with unknown values")
}

// answers looks at each byte of standard output until the plugin serves.
func (s *suite) answers(ctx context.Context, c *conform.Case) error {
	p, err := s.start(ctx, c, offer{})
	if err != nil {
		return err
	}
	printed := string(p.Stdout.Bytes())
	switch fields := strings.Count(p.line, "|") + 1; {
	case !strings.HasPrefix(printed, p.line+"\n"):
		return conform.Fail("the answer is the first byte of standard output, and ends with LF", fmt.Sprintf("%q", clip(printed)),
			"print nothing before the answer: hosts on go-plugin look at the first line only")
	case fields != 6:
		return conform.Fail("six fields", fmt.Sprintf("%d in %q", fields, clip(p.line)), "a seventh field is for hosts that set PLUGIN_MULTIPLEX_GRPC, and more are for those that set PLUGWIRE_OFFER")
	}
	conn, err := p.dial(ctx) // it must serve already
	if err != nil {
		return err
	}
	return conn.Close()
}

// seventhField compares the answers with and without the variable.
func (s *suite) seventhField(ctx context.Context, c *conform.Case) error {
	for _, value := range []string{"true", "no"} {
		p, err := s.start(ctx, c, offer{multiplex: value})
		if err != nil {
			return err
		}
		if p.mux != "false" && (value != "true" || p.mux != "true") {
			return conform.Fail("field 7 is true or false, and true only if it was asked for", fmt.Sprintf("%q for PLUGIN_MULTIPLEX_GRPC=%s", clip(p.line), value),
				"write false if the plugin has no multiplexed mode")
		}
	}
	return nil
}

// extended compares the answer to a Plugwire host with the offer.
func (s *suite) extended(ctx context.Context, c *conform.Case) error {
	o := ours()
	p, err := s.start(ctx, c, o)
	if err != nil {
		return err
	}
	if p.foreign() {
		return conform.Fail("extended fields", "an answer of go-plugin's form", "read PLUGWIRE_OFFER, and answer as section 6 says")
	}
	if p.mux != "" {
		return conform.Fail("an empty field 7", p.mux, "leave it empty to a Plugwire host")
	}
	if got := p.extended["instance"]; got != o.plugwire["instance"] {
		return conform.Fail("the instance of the offer", fmt.Sprintf("%q", got), "copy it unchanged")
	}
	if name, _, _ := strings.Cut(p.extended["transport"], "/"); name != p.network {
		return conform.Fail("transport="+p.network+"/1, as field 3", fmt.Sprintf("%q", p.extended["transport"]), "write the same transport in both")
	}
	for key, list := range map[string]string{"transport": "transports", "session": "sessions", "wire": "wires", "security": "security"} {
		if got := p.extended[key]; got != "" && !slices.Contains(strings.Split(o.plugwire[list], ","), got) {
			return conform.Fail(key+" is one of "+o.plugwire[list], got, "choose only what was offered")
		}
	}
	if (p.extended["security"] == "mtls" || p.extended["security"] == "") != (p.cert != nil) {
		return conform.Fail("a certificate if and only if the security is mtls", "security="+p.extended["security"], "see field 6")
	}
	return nil
}
