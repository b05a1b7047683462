//go:build unix

package goplugin_test

import (
	"encoding/json"
	"errors"
	"os/exec"
	"testing"
)

// conformBinary is the name of the command plugwire among the binaries.
const conformBinary = "conform-command"

// conformProfiles has the profile that each peer claims. go-plugin v1.0.1
// passes on nothing that its plugin prints, and is not asked to.
var conformProfiles = map[string]struct {
	profile string
	prints  bool
}{
	"v1.0.1":  {profile: "go-plugin"},
	"v1.4.0":  {profile: "go-plugin", prints: true},
	"v1.4.10": {profile: "go-plugin", prints: true},
	"v1.5.2":  {profile: "go-plugin", prints: true},
	"v1.6.3":  {profile: "go-plugin", prints: true},
	"v1.7.0":  {profile: "go-plugin", prints: true},
	"v1.8.0":  {profile: "go-plugin", prints: true},
	compat:    {profile: "go-plugin", prints: true},
	plugwire:  {profile: "full", prints: true},
}

// TestConformPlugins runs plugwire conform on the plugin of each peer.
func TestConformPlugins(t *testing.T) {
	t.Parallel()
	for name, claim := range conformProfiles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := []string{"-json", "conform", "plugin", "-profile", claim.profile}
			if claim.prints {
				args = append(args, "-prints", "interop.v1.Interop/Print")
			}
			args = append(args, "--", binary(name), "plugin", "-versions", "1,2")
			cmd := exec.CommandContext(t.Context(), binary(conformBinary), args...)
			out, err := cmd.Output()
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				t.Errorf("%v\n%s", err, exit.Stderr)
			} else if err != nil {
				t.Fatal(err)
			}
			var report struct {
				Passed  int
				Results []struct{ Rule, State, Expected, Seen, Reason, Output string }
			}
			if err := json.Unmarshal(out, &report); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, r := range report.Results {
				if r.State == "fail" || r.State == "error" {
					t.Errorf("rule %s: %s\nexpected %s\nseen %s %s\n%s", r.Rule, r.State, r.Expected, r.Seen, r.Reason, r.Output)
				}
			}
			const least = 25 // a run in which nothing applies shows nothing
			if report.Passed < least {
				t.Errorf("only %d rules passed", report.Passed)
			}
		})
	}
}

// TestConformPluginsHasAll checks that no peer is left out.
func TestConformPluginsHasAll(t *testing.T) {
	t.Parallel()
	for _, name := range append([]string{plugwire, compat}, releases...) {
		if _, ok := conformProfiles[name]; !ok {
			t.Errorf("%s claims no profile", name)
		}
	}
}
