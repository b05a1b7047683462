//go:build unix

package goplugin_test

import (
	"fmt"
	"slices"

	"github.com/plugwire/plugwire/interop/peer"
)

// outcome is the outcome of a check to which a rule applies.
type outcome string

const (
	// omitted is for a check that never passes, or only now and then, and that
	// would wait until a timeout.
	omitted     outcome = "omitted"
	failed      outcome = outcome(peer.Failed)
	unsupported outcome = outcome(peer.Unsupported)
)

// A rule is an exception: a check that does not pass. The test runs the check
// too, unless it is omitted. If it ever passes, the rule is wrong.
type rule struct {
	short   string // for the summary
	why     string
	applies func(cell) bool
	checks  []string
	outcome outcome
	says    string // the detail of the result must have this text
}

func (r rule) status() peer.Status {
	if r.outcome == "" {
		return peer.OK
	}
	return peer.Status(r.outcome)
}

func (r rule) String() string {
	if r.outcome == "" {
		return string(peer.OK)
	}
	return fmt.Sprintf("%s with %q in it, because %s", r.outcome, r.says, r.why)
}

// rules returns the rule for each check, or the zero value if there is none.
func (c cell) rules() map[string]rule {
	found := make(map[string]rule)
	for _, r := range facts {
		if !r.applies(c) {
			continue
		}
		for _, check := range r.checks {
			if _, ok := found[check]; !ok {
				found[check] = r
			}
		}
	}
	return found
}

// isRelease reports whether the peer is a release of go-plugin.
func isRelease(name string) bool { return name != plugwire && name != compat }

// isBefore reports whether the peer's release is older than the other.
func isBefore(name, release string) bool {
	return isRelease(name) && slices.Index(releases, name) < slices.Index(releases, release)
}

// multiplexes reports whether a peer has the multiplexed mode, which is new in
// v1.6.0.
func multiplexes(name string) bool {
	return !isBefore(name, "v1.6.3")
}

// refused reports whether a side does not have the mode.
func (c cell) refused() bool { return c.mux && (!multiplexes(c.host) || !multiplexes(c.plugin)) }

// output are the checks of a plugin's output.
var output = []string{peer.Stdio, peer.Printing, peer.Tail}

// facts describe the behaviour of go-plugin's releases.
var facts = []rule{
	{
		short:   "no mode",
		why:     "the host has no multiplexed mode",
		applies: func(c cell) bool { return c.mux && !multiplexes(c.host) },
		checks:  []string{peer.Start},
		outcome: unsupported,
		says:    "multiplex",
	},
	{
		short:   "refused",
		why:     "the plugin has no multiplexed mode",
		applies: func(c cell) bool { return c.refused() },
		checks:  []string{peer.Start},
		outcome: failed,
		says:    "multiplex",
	},
	{
		short: "no output",
		why: "v1.0.1 does nothing with what a plugin prints. The plugin's standard output and error are pipes " +
			"that nobody reads: it stops for good when one is full",
		applies: func(c cell) bool { return c.plugin == "v1.0.1" || c.host == "v1.0.1" && isRelease(c.plugin) },
		checks:  output,
		outcome: omitted,
	},
	{
		short:   "no output",
		why:     "v1.0.1 does not ask for what a plugin prints; ours goes on all the same",
		applies: func(c cell) bool { return c.host == "v1.0.1" && !isRelease(c.plugin) },
		checks:  []string{peer.Stdio, peer.Tail},
		outcome: omitted,
	},
	{
		short: "tail is lost",
		why: "a plugin on go-plugin answers Shutdown, and ends, without having sent what it printed; of 32 KiB the " +
			"end is lost four times out of five",
		applies: func(c cell) bool { return isRelease(c.plugin) },
		checks:  []string{peer.Tail},
		outcome: omitted,
	},
	{
		short: "no call back",
		why: "with AutoMTLS, plugins before v1.4.4 cannot dial: their TLS configuration has neither the host's " +
			"certificate nor a name for it",
		applies: func(c cell) bool {
			return isBefore(c.plugin, "v1.4.10") && c.mutualTLS
		},
		checks:  []string{peer.Callback},
		outcome: failed,
		says:    "x509: certificate is valid for localhost, not unused",
	},
	{
		short:   "leaves its socket",
		why:     "in the multiplexed mode go-plugin's plugin never closes the listener that would remove the socket",
		applies: func(c cell) bool { return c.mux && isRelease(c.host) && isRelease(c.plugin) },
		checks:  []string{peer.Kill},
		outcome: failed,
		says:    "files are left",
	},
	{
		why:     "how long a plugin has for its end is not a matter of the mode, and takes its time to see",
		applies: func(c cell) bool { return c.mutualTLS || c.mux },
		checks:  []string{peer.Linger},
		outcome: omitted,
	},
	{
		short: "no time to end",
		why: "go-plugin's Kill waits for the answer to Shutdown without a bound, and from then on for 2 s; its plugins " +
			"answer at once, and those with its API do their last work after Serve has returned",
		applies: func(c cell) bool { return isRelease(c.host) && c.plugin != plugwire },
		checks:  []string{peer.Linger},
		outcome: failed,
		says:    "plugin failed to exit gracefully",
	},
	{
		short: "launched",
		why: "a Plugwire host and a plugin on compat/goplugin agree on more than go-plugin has, so the " +
			"plugin's life is bound to that host's, and no other can attach",
		applies: func(c cell) bool { return c.host == plugwire && c.plugin == compat && !c.mutualTLS && !c.mux },
		checks:  []string{peer.Reattach},
		outcome: failed,
		says:    "could not be attached to",
	},
	{
		short:   "no reattach",
		why:     "of AutoMTLS only the first client has the key, and multiplexing is one connection, the first client's",
		applies: func(c cell) bool { return c.mutualTLS || c.mux },
		checks:  []string{peer.Reattach},
		outcome: unsupported,
		says:    "AutoMTLS",
	},
}
