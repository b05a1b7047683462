//go:build unix

package plugins

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

// found says which rules find each defect of the program. No other may.
var found = map[string][]string{
	"": nil, // the plugin without a defect

	"any-cookie":        {"protocol-5/no-cookie", "protocol-5/wrong-cookie", "protocol-5/refuses-cookie"},
	"first-version":     {"protocol-4/plugwire-host"},
	"lowest-version":    {"protocol-2/versions-in-any-order"},
	"strict-versions":   {"protocol-2/other-items-of-versions"},
	"demands-version":   {"protocol-5/no-version"},
	"strict-keys":       {"protocol-4/unknown-values"},
	"ignores-mark":      {"protocol-5/refuses-marked-key"},
	"tolerant-offer":    {"protocol-3/malformed-offer"},
	"own-order":         {"protocol-5/host-order"},
	"own-directory":     {"protocol-8/socket-directory"},
	"no-mtls":           {"protocol-10/mtls"},
	"no-seventh-field":  {"protocol-6/seventh-field"},
	"crash-on-plugwire": {"protocol-4/plugwire-host"},

	"prints-before":       {"protocol-6/answers"},
	"no-flush":            {"protocol-6/answers"},
	"no-line-feed":        {"protocol-6/answers"},
	"net-rpc":             {"protocol-6/answers"},
	"seven-fields":        {"protocol-6/answers"},
	"early-answer":        {"protocol-6/answers"},
	"padded-certificate":  {"protocol-10/mtls"},
	"unasked-certificate": {"protocol-6/unasked-certificate"},
	"other-instance":      {"protocol-6/extended"},
	"no-extended":         {"protocol-4/plugwire-host"},
	"refuses-with-zero": {
		"protocol-3/malformed-offer", "protocol-5/no-cookie", "protocol-5/wrong-cookie", "protocol-5/refuses-cookie", "protocol-5/refuses-version",
		"protocol-5/refuses-protocol", "protocol-5/refuses-transport", "protocol-5/refuses-session", "protocol-5/refuses-wire",
		"protocol-5/refuses-security", "protocol-5/refuses-certificate", "protocol-5/refuses-marked-key", "protocol-8/long-directory",
	},

	"open-socket":  {"protocol-8/socket-mode"},
	"socket-stays": {"protocol-13/ends", "protocol-13/control-shutdown"},
	"few-connections": {
		"protocol-9/many-connections", "protocol-9/broken-preamble", "protocol-11/garbage", "protocol-11/broken-frames",
		"protocol-11/broken-messages", "protocol-15/silent-connections", "wire-8/protocol-errors",
	},
	"one-at-a-time": {"protocol-9/half-preamble", "protocol-13/silent-connection-at-the-end", "protocol-15/silent-connections"},

	"crash-on-garbage":     {"protocol-11/garbage"},
	"crash-on-large-frame": {"protocol-11/broken-frames"},
	"crash-on-message":     {"protocol-11/broken-messages"},
	"any-preamble-version": {"protocol-9/broken-preamble"},
	"no-second-preamble":   {"protocol-4/plugwire-host"},
	"greedy-preamble":      {"protocol-4/plugwire-host"},

	"no-client-certificate": {"protocol-10/stranger-without-certificate", "protocol-10/stranger-with-certificate"},
	"any-certificate":       {"protocol-10/stranger-with-certificate"},
	"wrong-name":            {"protocol-10/mtls"},
	"short-lived":           {"protocol-10/own-certificate"},
	"other-curve":           {"protocol-10/certificate-form"},
	"one-curve":             {"protocol-10/curve-of-the-host"},

	"small-messages": {"protocol-11/large-message"},
	"prints-nothing": {"protocol-16/printed"},
	"prints-one":     {"protocol-16/printed"},

	"ends-with-one": {
		"protocol-8/own-directory", "protocol-13/ends", "protocol-13/control-shutdown", "protocol-13/sigterm", "protocol-16/controller-shutdown",
	},
	"dies-by-sigterm":  {"protocol-13/sigterm"},
	"dies-by-sigint":   {"protocol-13/sigint"},
	"outlives-host":    {"protocol-16/host-dies"},
	"ends-with-output": {"protocol-16/closed-output"},
	"no-lifeline":      {"protocol-13/lifeline"},
	"slow-lifeline":    {"protocol-13/lifeline-while-stopped"},

	"no-pw":          {"wire-2/hello"},
	"sends-no-hello": {"wire-2/hello"},
	"takes-hello":    {"wire-8/protocol-errors"},
	"no-credit":      {"wire-4/credit"},
	"skips-cancel":   {"wire-5/late-frames"},
	"wrong-status":   {"wire-3/unknown-method"},
	"drops-pieces":   {"wire-4/pieces"},
}

// inert says which rules can see a defect at all. Under all others the program does the same
// as without it. Such defects are in TLS under foreign hosts with a certificate, and in the
// wire pw/1. It saves most of the time of the test.
var inert = map[string]string{
	"no-client-certificate": "^protocol-10/", "any-certificate": "^protocol-10/", "wrong-name": "^protocol-10/",
	"short-lived": "^protocol-10/", "other-curve": "^protocol-10/", "one-curve": "^protocol-10/",
	"no-pw": "^wire-", "sends-no-hello": "^wire-", "takes-hello": "^wire-", "no-credit": "^wire-", "skips-cancel": "^wire-",
	"wrong-status": "^wire-", "drops-pieces": "^wire-",
}

// TestDefects runs all rules on the program with each of its defects.
func TestDefects(t *testing.T) {
	t.Parallel()
	for defect, want := range found {
		t.Run("defect="+defect, func(t *testing.T) {
			t.Parallel()
			s, rules := newSuite()
			s.prints = "/conform.Defective/Print"
			if err := s.prepare(nil); err != nil {
				t.Fatal(err)
			}
			// A defect that makes the plugin wait is found when these are over.
			switch defect {
			case "no-flush", "no-line-feed":
				s.startTimeout = 2 * time.Second
			case "one-at-a-time", "greedy-preamble", "prints-nothing", "prints-one", "sends-no-hello", "takes-hello", "no-credit", "skips-cancel":
				s.callTimeout = 5 * time.Second
			case "outlives-host", "no-lifeline", "slow-lifeline":
				s.life = 5 * time.Second
			}
			command := []string{program}
			if defect != "" {
				command = append(command, defect)
			}
			runner := &conform.Runner{Suite: rules, Command: command, Profile: conform.Full, Parallel: 3, Select: regexp.MustCompile(inert[defect])}
			results, err := runner.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			finders := map[string]bool{}
			for _, r := range results {
				if r.State == conform.Failed || r.State == conform.Broken {
					finders[r.Rule] = true
					if !slices.Contains(want, r.Rule) {
						t.Errorf("rule %s finds it: %s\nexpected %s\nseen %s %s\n%s", r.Rule, r.State, r.Expected, r.Seen, r.Reason, r.Output)
					}
				}
			}
			for _, rule := range want {
				if !finders[rule] {
					t.Errorf("rule %s does not find it", rule)
				}
			}
		})
	}
}

// TestDefectsAreAll checks that the test has all defects of the program.
func TestDefectsAreAll(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), program, "-list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		if _, ok := found[name]; !ok {
			t.Errorf("defect %s is not tested", name)
		}
	}
	if n := len(strings.Fields(string(out))); n != len(found)-1 {
		t.Errorf("the program has %d defects, the test %d", n, len(found)-1)
	}
}

// TestNothingIsLeft checks that no files are left after the rules.
func TestNothingIsLeft(t *testing.T) {
	s, rules := newSuite()
	if err := s.prepare(nil); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	runner := &conform.Runner{Suite: rules, Command: []string{program}, Profile: conform.Minimal, Parallel: 4, Select: regexp.MustCompile("-(8|12|13)/")}
	if _, err := runner.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
