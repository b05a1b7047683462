//go:build unix

package hosts_test

import (
	"flag"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform/hosts"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform/probe"
)

func TestMain(m *testing.M) {
	probe.Main() // does not return in the plugin of a host
	if len(os.Args) > 1 && os.Args[1] == hostArg {
		runtime.LockOSThread() // the plugin ends with the thread that started it
		os.Exit(hostMain(os.Args[2:]))
	}
	if len(os.Args) > 2 && os.Args[1] == coreArg {
		os.Exit(coreMain(os.Args[2]))
	}
	if err := flag.Set("test.parallel", "16"); err != nil { // a check spends most of its time waiting
		panic(err)
	}
	os.Exit(m.Run())
}

// check runs rules of a profile against one of the test's hosts, and returns the results.
func check(t *testing.T, suite *conform.Suite, profile conform.Profile, selected string, args ...string) []conform.Result {
	t.Helper()
	results, err := runner(t, suite, profile, selected, args...).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func runner(t *testing.T, suite *conform.Suite, profile conform.Profile, selected string, args ...string) *conform.Runner {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Error(err)
	}
	return &conform.Runner{
		Suite: suite, Command: append(append([]string{self}, args...), "{plugin}"),
		Profile: profile, Select: regexp.MustCompile(selected), Parallel: 16, // most of the time they wait
	}
}

// failed returns the rules that are broken, and reports those that could not be checked.
func failed(t *testing.T, results []conform.Result) []string {
	t.Helper()
	var rules []string
	for _, r := range results {
		switch r.State { //nolint:exhaustive // others are as they should be
		case conform.Failed:
			rules = append(rules, r.Rule)
			t.Logf("%s: expected %s, seen %s\n%s", r.Rule, r.Expected, r.Seen, r.Output)
		case conform.Broken:
			t.Errorf("%s: %s", r.Rule, r.Reason)
		}
	}
	slices.Sort(rules)
	return rules
}

// notMeant returns the rules that do not apply.
func notMeant(results []conform.Result) []string {
	var rules []string
	for _, r := range results {
		if r.State == conform.NotMeant {
			rules = append(rules, r.Rule)
		}
	}
	return rules
}

// TestRight checks hosts without a defect.
func TestRight(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		profile conform.Profile
		args    []string
		without []string // beginnings of the rules that do not apply
	}{
		{"full", conform.Full, []string{hostArg}, []string{"protocol-7/certificate-unasked", "protocol-7/no-multiplexing", "wire-"}},
		{"go-plugin", conform.GoPlugin, []string{hostArg, "-foreign"}, []string{"protocol-7/no-multiplexing"}},
		{"on Plugwire", conform.Full, []string{coreArg}, []string{"protocol-7/certificate-unasked", "protocol-7/no-multiplexing"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			results := check(t, hosts.Suite(), tt.profile, "", tt.args...)
			if rules := failed(t, results); len(rules) > 0 {
				t.Errorf("failed: %q", rules)
			}
			for _, rule := range notMeant(results) {
				if !slices.ContainsFunc(tt.without, func(prefix string) bool { return strings.HasPrefix(rule, prefix) }) {
					t.Errorf("%s does not apply", rule)
				}
			}
		})
	}
}

// defects are those of the test's host, each with the rules that find it.
var defects = map[string][]string{
	"any-core":            {"protocol-6/core-version"},
	"any-rpc":             {"protocol-6/no-rpc-protocol", "protocol-6/rpc-protocol"},
	"any-security":        {"protocol-7/security"},
	"any-session":         {"protocol-7/session"},
	"any-transport":       {"protocol-6/transport-form", "protocol-7/transport-version"},
	"any-version":         {"protocol-7/version"},
	"any-wire":            {"protocol-7/wire"},
	"authority":           {"protocol-11/authority"},
	"first-line-only":     {"protocol-6/noise", "protocol-6/other-instance"},
	"hides-refusal":       {"protocol-6/refusal"},
	"ignores-marks":       {"protocol-6/marked-key"},
	"kills-one":           {"protocol-13/group"},
	"leaves-directory":    {"protocol-13/directory"},
	"malformed-offer":     {"protocol-4/well-formed"},
	"new-preamble":        {"protocol-9/old-preamble"},
	"no-callbacks":        {"protocol-11/callbacks", "protocol-9/calls-first"},
	"no-cookie":           {"protocol-2/cookie"},
	"no-ready":            {"protocol-12/not-ready", "protocol-12/ready"},
	"no-session":          {"protocol-13/session"},
	"no-shutdown":         {"protocol-13/shutdown", "protocol-16/shutdown"},
	"no-streams":          {"protocol-16/streams"},
	"odd-versions":        {"protocol-2/versions"},
	"other-identity":      {"protocol-9/preamble"},
	"outlived":            {"protocol-16/host-killed"},
	"own-stdin":           {"protocol-2/standard-input"},
	"p-521":               {"protocol-10/certificate"},
	"passes-environment":  {"protocol-2/not-passed-on"},
	"plaintext":           {"protocol-7/plaintext"},
	"ports-exchanged":     {"protocol-2/ports"},
	"public-directory":    {"protocol-2/socket-directory"},
	"same-instance":       {"protocol-4/new-instance"},
	"stops-reading":       {"protocol-14/long-lines", "protocol-14/output"},
	"trusts-certificates": {"protocol-10/pinned", "protocol-10/pinned-after-preamble"},
	"trusts-log":          {"protocol-14/odd-lines"},
	"unbounded-line":      {"protocol-6/endless-line"},
}

// TestDefects checks that each defect is found by the rules that are meant for it, and by no
// others of their sections.
func TestDefects(t *testing.T) {
	t.Parallel()
	for defect, want := range defects {
		t.Run(defect, func(t *testing.T) {
			t.Parallel()
			var sections []string
			for _, rule := range want {
				section, _, _ := strings.Cut(rule, "/")
				sections = append(sections, section)
			}
			checkDefect(t, defect, "^("+strings.Join(sections, "|")+")/", want)
		})
	}
}

// soakHosts is how many defective hosts are checked with all rules at once. Each check runs 16
// hosts. With 16 such checks on two processors, hosts gave up plugins that only were slow.
const soakHosts = 2

// TestSoakDefects does the same with all rules.
func TestSoakDefects(t *testing.T) { //nolint:tparallel // it takes all processors by itself
	if os.Getenv("PLUGWIRE_SOAK") != "full" {
		t.Skip("skipped, as it takes some minutes: PLUGWIRE_SOAK=full has it")
	}
	places := make(chan struct{}, soakHosts)
	for defect, want := range defects {
		t.Run(defect, func(t *testing.T) {
			t.Parallel()
			places <- struct{}{}
			defer func() { <-places }()
			checkDefect(t, defect, "", want)
		})
	}
}

// TestHangingHost checks a host that never gives up a plugin which does not answer. The
// check ends at the rule's bound, and the host with it. On a busy machine a short bound may pass
// before the host has started the plugin.
func TestHangingHost(t *testing.T) {
	t.Parallel()
	const id = "protocol-15/start"
	for bound := 10 * time.Second; ; bound *= 2 { // half of it is for the host
		suite := hosts.Suite()
		for i := range suite.Rules {
			if r := &suite.Rules[i]; r.ID() == id {
				r.Bound = bound
			}
		}
		results := check(t, suite, conform.Full, "^"+id+"$", hostArg, "-defect", "waits")
		if len(results) == 1 && results[0].State == conform.Failed && strings.Contains(results[0].Seen, "it still ran after") {
			return
		}
		if bound > time.Minute {
			t.Fatalf("%+v, want that the host still runs", results)
		}
	}
}

func checkDefect(t *testing.T, defect, selected string, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, failed(t, check(t, hosts.Suite(), conform.Full, selected, hostArg, "-defect", defect))); diff != "" {
		t.Errorf("rules that fail (-want +got):\n%s", diff)
	}
}
