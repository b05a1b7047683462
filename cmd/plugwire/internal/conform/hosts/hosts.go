// Package hosts has the rules for hosts in any language. Each starts the host with
// [probe]'s plugin, which plays a scene, and judges what both have seen.
package hosts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/preset"
)

const long = `Host starts a program that is a host, again and again, and is the plugin that it starts.
The program finds the plugin's path in its arguments, where {plugin} or {} stands for it,
or in the variable PLUGWIRE_CONFORM_PLUGIN. It must start the plugin, may call any method
or check the health, must stop the plugin, and must end: with exit code 0 if all went
well, and with another one otherwise. The answer to each call is an empty message.`

// The cookie of a host that knows no other.
const (
	defaultCookie      = "PLUGIN_MAGIC_COOKIE"
	defaultCookieValue = "plugwire"
)

// The defaults of the flags: those of Plugwire's and go-plugin's hosts.
const (
	defaultStartTimeout = time.Minute
	defaultStopTimeout  = 15 * time.Second
)

// suite is what the rules of one run share.
type suite struct {
	cookie, preset string
	startTimeout   time.Duration
	stopTimeout    time.Duration
	plaintext      bool

	cookieName, cookieValue string

	mu   sync.Mutex // guards runs
	runs map[string]*sharedRun
}

// sharedRun is a run of the host by which several rules are judged.
type sharedRun struct {
	done   chan struct{} // closed when the rest is set
	record *record
	err    error
}

// Suite returns the rules.
func Suite() *conform.Suite {
	s := &suite{
		startTimeout: defaultStartTimeout, stopTimeout: defaultStopTimeout,
		cookieName: defaultCookie, cookieValue: defaultCookieValue, runs: map[string]*sharedRun{},
	}
	result := &conform.Suite{Kind: "host", Long: long, Flags: s.flags}
	for _, r := range s.rules() {
		result.Rules = append(result.Rules, conform.Rule{
			Section: r.section, Name: r.name, Title: r.title, Profiles: r.profiles, Bound: s.bound(r),
			Check: func(ctx context.Context, c *conform.Case) error { return s.check(ctx, c, r) },
		})
	}
	result.Prepare = func([]string) error {
		for i, r := range s.rules() {
			result.Rules[i].Bound = s.bound(r)
		}
		return s.prepare()
	}
	return result
}

func (s *suite) flags(flags *pflag.FlagSet) {
	flags.StringVar(&s.preset, "preset", "", "cookie of an `application`: plugwire presets lists them")
	flags.StringVar(&s.cookie, "cookie", "", "cookie that the host sets, as `NAME=VALUE`")
	flags.DurationVar(&s.startTimeout, "start-timeout", s.startTimeout, "how long the host waits for a plugin that does not start")
	flags.DurationVar(&s.stopTimeout, "stop-timeout", s.stopTimeout, "how long the host takes to end a plugin that does not stop")
	flags.BoolVar(&s.plaintext, "plaintext", false, "the host accepts a plugin on TCP without TLS")
}

// prepare checks the flags.
func (s *suite) prepare() error {
	if s.preset != "" {
		p, err := preset.Find(s.preset)
		if err != nil {
			return output.Usage("-preset: %v", err)
		}
		s.cookieName, s.cookieValue = p.Cookie, p.Value
	}
	if s.cookie != "" {
		var ok bool
		if s.cookieName, s.cookieValue, ok = strings.Cut(s.cookie, "="); !ok || s.cookieName == "" {
			return output.Usage("-cookie %q: want NAME=VALUE", s.cookie)
		}
	}
	if s.startTimeout <= 0 || s.stopTimeout <= 0 {
		return output.Usage("-start-timeout and -stop-timeout: want more than 0")
	}
	return nil
}

// slowness is what a run of the host waits for.
type slowness int

const (
	quick     slowness = iota
	slowStart          // the host's start timeout
	slowStop           // the host's patience with a plugin that does not stop
)

// bound returns how long a check may take: the run by which the rule is judged, and the run on
// which it builds. The host has its whole time in each of them. Where both shared one bound, a
// slow first run left too little for the second, and a host without a defect seemed to hang.
func (s *suite) bound(r *rule) time.Duration {
	if r.needs != nil {
		return s.runBound(quick) + s.runBound(r.slow)
	}
	return s.runBound(r.slow)
}

// runBound returns how long a run of the host may take.
func (s *suite) runBound(slow slowness) time.Duration {
	switch slow {
	case slowStart:
		return conform.DefaultBound + s.startTimeout
	case slowStop:
		return conform.DefaultBound + s.stopTimeout
	default:
		return conform.DefaultBound
	}
}

// rule is a rule as this package declares it.
type rule struct {
	section, name, title string
	profiles             conform.Profile
	// stage is the run by which the rule is judged. Rules with the same stage share a run.
	stage stage
	// needs is a run that must work before this one says anything; nil for none.
	needs *need
	slow  slowness
	// loose is set if the rule is judged whatever the host did after it started the plugin.
	loose bool
	judge func(*record) error
}

// need is a run of the host that others build on.
type need struct {
	rule  string // the identifier of the rule that says what is wrong
	stage stage
}

// check runs the host, and judges.
func (s *suite) check(ctx context.Context, c *conform.Case, r *rule) error {
	if r.needs != nil {
		base, err := s.run(ctx, c, &r.needs.stage, quick)
		if err == nil {
			err = base.check()
		}
		if err == nil {
			err = base.works()
		}
		if _, failed := errors.AsType[*conform.Failure](err); failed {
			return conform.NotApplicable("the host does not pass %s, which this rule builds on", r.needs.rule)
		}
		if err != nil {
			return err
		}
	}
	seen, err := s.run(ctx, c, &r.stage, r.slow)
	if err != nil {
		return err
	}
	if r.loose && len(seen.actors) > 0 {
		return r.judge(seen)
	}
	if err := seen.check(); err != nil {
		return err
	}
	return r.judge(seen)
}

// key is the same for stages that are the same.
func (st *stage) key() (string, error) {
	scene, err := json.Marshal(st.scene)
	return fmt.Sprintf("%s %q %q %v", scene, st.env, st.stdin, st.kill), err
}

// played returns what was seen in a stage on which a rule builds.
func (s *suite) played(st *stage) (*record, error) {
	name, err := st.key()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	shared := s.runs[name]
	s.mu.Unlock()
	if shared == nil {
		return nil, errors.New("the stage was not played")
	}
	<-shared.done // the rule has waited for it
	return shared.record, shared.err
}

// run runs the host in a stage, once for all rules.
func (s *suite) run(ctx context.Context, c *conform.Case, st *stage, slow slowness) (*record, error) {
	name, err := st.key()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	shared, there := s.runs[name]
	if !there {
		shared = &sharedRun{done: make(chan struct{})}
		s.runs[name] = shared
	}
	s.mu.Unlock()
	if there {
		select {
		case <-shared.done:
			return shared.record, shared.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	defer close(shared.done)
	bounded, cancel := context.WithTimeout(ctx, s.runBound(slow))
	defer cancel()
	shared.record, shared.err = play(bounded, c, st)
	return shared.record, shared.err
}
