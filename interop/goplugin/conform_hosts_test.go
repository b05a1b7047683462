//go:build unix

package goplugin_test

import (
	"encoding/json"
	"os/exec"
	"testing"
)

// conformReport is what the test reads of the report of plugwire conform.
type conformReport struct {
	Passed  int `json:"passed"`
	Results []struct {
		Rule     string `json:"rule"`
		State    string `json:"state"`
		Expected string `json:"expected"`
		Seen     string `json:"seen"`
		Reason   string `json:"reason"`
		Output   string `json:"output"`
	} `json:"results"`
}

// checkedHost is a host that plugwire conform checks.
type checkedHost struct {
	name, peer, profile string
	args                []string
	rules               string // a regular expression; empty for all of the profile
	least               int    // so many rules pass: one that does not apply is no success
}

// conformedHosts are our host, by the full profile, and those of go-plugin by its own.
// Release v1.0.1 is left out, because it does not open the stream for a plugin's output.
func conformedHosts() []checkedHost {
	const quick = `^(protocol-([2-9]|1[0124]|16|21)|wire-\d+)/` // the tests of conform have the rest, with a host that waits less
	all := []checkedHost{
		{name: "plugwire", peer: plugwire, profile: "full", rules: quick, least: 80},
		{name: "plugwire with mutual TLS", peer: plugwire, profile: "full", args: []string{"-mtls"}, rules: quick, least: 85},
		{name: "v1.8.0, multiplexed", peer: "v1.8.0", profile: "go-plugin", args: []string{"-mtls", "-mux"}, least: 42},
	}
	for _, release := range releases[1:] {
		all = append(all, checkedHost{name: release, peer: release, profile: "go-plugin", args: []string{"-mtls"}, least: 40})
	}
	return all
}

// TestConformHosts checks hosts from outside with plugwire conform.
func TestConformHosts(t *testing.T) {
	t.Parallel()
	for _, h := range conformedHosts() {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			// The hosts' patience is 15 s for a start, and 20 s for a stop.
			args := []string{"conform", "host", "-json", "-profile", h.profile, "-run", h.rules, "-parallel", "12", "-start-timeout", "1m", "-stop-timeout", "1m", "--", binary(h.peer), "host"}
			args = append(append(args, h.args...), "-checks", "ping", "{plugin}")
			out, err := exec.CommandContext(t.Context(), binary(conformBinary), args...).Output()
			var report conformReport
			if jsonErr := json.Unmarshal(out, &report); jsonErr != nil {
				t.Fatalf("%v, %v\n%s", err, jsonErr, out)
			}
			var fails []string
			for _, r := range report.Results {
				if r.State != "pass" && r.State != "n/a" {
					fails = append(fails, r.Rule)
					t.Logf("%s: %s; expected %s, seen %s, %s\n%s", r.Rule, r.State, r.Expected, r.Seen, r.Reason, r.Output)
				}
			}
			if len(fails) > 0 || report.Passed < h.least {
				t.Errorf("%d rules pass, want at least %d; these fail: %q", report.Passed, h.least, fails)
			}
		})
	}
}
