package conform

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if code, ran := RunRole(os.Args[1:], roles); ran {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

// roles has a process that goes on until it is killed.
var roles = &Suite{Kind: "test", Roles: []Role{{Name: "stays", Main: func(args []string) int {
	_, _ = os.Stdout.WriteString(args[0] + "\n")
	<-time.After(time.Hour) // without a timer, the runtime would see a deadlock
	return 1
}}}}

// startStays starts the process, and waits until it runs.
func startStays(ctx context.Context, c *Case) (*Process, error) {
	command, err := c.RoleCommand("stays", "here")
	if err != nil {
		return nil, err
	}
	p, err := c.Start(Start{Command: command})
	if err != nil {
		return nil, err
	}
	_, err = p.Stdout.Wait(ctx, func(b []byte) bool { return string(b) == "here\n" })
	return p, err
}

// suite is one rule for each way in which a check can end.
func suite() *Suite {
	return &Suite{Kind: "plugin", Rules: []Rule{
		{Section: "wire 1", Name: "none", Title: "It does not apply.", Check: func(context.Context, *Case) error { return NotApplicable("there is %s", "none") }},
		{Section: "protocol 1", Name: "blocked", Title: "It needs a broken rule.", Needs: []string{"protocol-2/blocked"}, Check: func(context.Context, *Case) error { panic("checked") }},
		{Section: "protocol 2", Name: "blocked", Title: "It needs a broken rule.", Needs: []string{"wire-1/none", "protocol-10/fail"}, Check: func(context.Context, *Case) error { panic("checked") }},
		{Section: "protocol 2", Name: "through", Title: "It needs a broken rule by way of one that is not chosen.", Needs: []string{"protocol-2/blocked"}, Check: func(context.Context, *Case) error { panic("checked") }},
		{Section: "protocol 3", Name: "free", Title: "It needs a rule that does not apply.", Needs: []string{"wire-1/none", "not/chosen"}, Check: func(context.Context, *Case) error { return nil }},
		{Section: "protocol 10", Name: "fail", Title: "It fails.", Profiles: GoPlugin, Check: func(context.Context, *Case) error { return Fail("one", "two", "three") }},
		{Section: "protocol 9", Name: "pass", Title: "It passes.", Profiles: Minimal | GoPlugin, Check: func(ctx context.Context, c *Case) error {
			_, err := startStays(ctx, c)
			return err
		}},
		{Section: "protocol 9", Name: "panic", Title: "It panics.", Check: func(context.Context, *Case) error { panic("no") }},
		{Section: "protocol 9", Name: "hang", Title: "It hangs.", Bound: 100 * time.Millisecond, Check: func(ctx context.Context, c *Case) error {
			p, err := startStays(ctx, c)
			if err != nil {
				return err
			}
			<-p.Exited() // the bound of the rule kills it
			return errors.New("killed")
		}},
		{Section: "protocol 9", Name: "killed", Title: "It passes because its bound kills the program.", Bound: 100 * time.Millisecond, Check: func(ctx context.Context, c *Case) error {
			p, err := startStays(ctx, c)
			if err != nil {
				return err
			}
			<-p.Exited()
			return nil
		}},
	}}
}

// TestRun checks the order of results, and what each of them says.
func TestRun(t *testing.T) {
	t.Parallel()
	var done []string
	r := &Runner{Suite: suite(), Profile: Full, Parallel: 1, Done: func(r Result) { done = append(done, r.Rule) }}
	results, err := r.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		rule  string
		state State
		text  string
	}{
		{"protocol-1/blocked", NotMeant, "rule protocol-2/blocked is broken"},
		{"protocol-2/blocked", NotMeant, "rule protocol-10/fail is broken"},
		{"protocol-2/through", NotMeant, "rule protocol-2/blocked is broken"},
		{"protocol-3/free", Pass, ""},
		{"protocol-9/pass", Pass, ""},
		{"protocol-9/panic", Broken, "the check panics: no"},
		{"protocol-9/hang", Failed, "nothing: "},
		{"protocol-9/killed", Failed, "none until the program was killed"},
		{"protocol-10/fail", Failed, "two"},
		{"wire-1/none", NotMeant, "there is none"},
	}
	if len(results) != len(want) || len(done) != len(want) {
		t.Fatalf("%d results and %d calls, want %d", len(results), len(done), len(want))
	}
	for i, w := range want {
		got := results[i]
		if got.Rule != w.rule || done[i] != w.rule || got.State != w.state || !strings.Contains(got.Seen+got.Reason, w.text) {
			t.Errorf("result %d: %+v, want %+v", i, got, w)
		}
	}
}

// TestSelect checks which rules a profile and an expression choose.
func TestSelect(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		profile Profile
		run     string
		want    []string
	}{
		{Minimal, "", []string{"pass"}},
		{GoPlugin, "", []string{"pass", "fail"}},
		{Full, "protocol-9/p", []string{"pass", "panic"}},
		{Full, "^wire", []string{"none"}},
	} {
		r := Runner{Suite: suite(), Profile: tt.profile, Select: regexp.MustCompile(tt.run)}
		var got []string
		for _, rule := range r.Rules() {
			got = append(got, rule.Name)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("profile %s and %q choose %v, want %v", tt.profile, tt.run, got, tt.want)
		}
	}
}

// TestNeedsThrough checks that what a rule needs counts also if it is needed by way of a
// rule that was not chosen.
func TestNeedsThrough(t *testing.T) {
	t.Parallel()
	r := Runner{Suite: suite(), Profile: Full, Select: regexp.MustCompile("through|fail")}
	results, err := r.Run(t.Context())
	if err != nil || len(results) != 2 || results[0].Reason != "rule protocol-10/fail is broken" {
		t.Errorf("the results are %+v, %v", results, err)
	}
}

// TestInterrupt checks that a run ends with its context, and that no process is left.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("interrupted")
	var pid int
	s := &Suite{Rules: []Rule{{Section: "protocol 1", Name: "hang", Check: func(ctx context.Context, c *Case) error {
		p, err := startStays(ctx, c)
		if err != nil {
			cancel(err)
			return err
		}
		pid = p.Pid()
		cancel(gone)
		_, err = p.Wait(t.Context()) // the case kills it
		return err
	}}}}
	if _, err := (&Runner{Suite: s, Profile: Full}).Run(ctx); !errors.Is(err, gone) {
		t.Fatalf("the run ends with %v, want %v", err, gone)
	}
	if pid == 0 {
		t.Fatal("the check was not made")
	}
}

// TestJUnit checks the report for a CI system.
func TestJUnit(t *testing.T) {
	t.Parallel()
	report := &Report{Kind: "plugin", Profile: "full", Failed: 1, Errors: 1, NotApplicable: 1, Results: []Result{
		{Rule: "protocol-6/a", Title: "A is true.", State: Pass, Seconds: 0.5},
		{Rule: "protocol-6/b", Title: "B is true.", State: Failed, Seen: "x\x1b<", Expected: "y", Advice: "z", Output: "last words"},
		{Rule: "wire-1/c", Title: "C is true.", State: Broken, Reason: "no room"},
		{Rule: "wire-1/d", Title: "D is true.", State: NotMeant, Reason: "no wire"},
	}}
	var b bytes.Buffer
	if err := writeJUnit(&b, report); err != nil {
		t.Fatal(err)
	}
	var got junitSuites
	if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatalf("%v\n%s", err, &b)
	}
	s := got.Suite
	if s.Tests != 4 || s.Failures != 1 || s.Errors != 1 || s.Skipped != 1 || len(s.Cases) != 4 {
		t.Errorf("the numbers are wrong: %s", &b)
	}
	failed := s.Cases[1]
	if failed.Class != "conform.plugin.protocol-6" || failed.Name != "b: B is true." || failed.Failure == nil || failed.Failure.Message != "x�<" || failed.Output != "last words" {
		t.Errorf("the failure is %+v", failed)
	}
	if s.Cases[0].Time != "0.500" || s.Cases[2].Error == nil || s.Cases[3].Skipped == nil {
		t.Errorf("the cases are wrong: %s", &b)
	}
}

// TestEnviron checks that variables of another host do not reach the program.
func TestEnviron(t *testing.T) {
	t.Setenv("PLUGIN_CLIENT_CERT", "x")
	t.Setenv("PLUGWIRE_OFFER", "x")
	c := &Case{Dir: "/d", Env: []string{"PLUGIN_A=1"}}
	env := c.Environ("B=2")
	if slices.Contains(env, "PLUGIN_CLIENT_CERT=x") || slices.Contains(env, "PLUGWIRE_OFFER=x") {
		t.Errorf("variables of another host are passed on: %q", env)
	}
	if !slices.Equal(env[len(env)-2:], []string{"PLUGIN_A=1", "B=2"}) {
		t.Errorf("the environment ends with %q", env[len(env)-2:])
	}
}

// TestRecording checks that more output than is kept does not block a process.
func TestRecording(t *testing.T) {
	t.Parallel()
	r, w, err := newRecording()
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		_, err := w.Write(make([]byte, 2*maxRecorded))
		written <- errors.Join(err, w.Close())
	}()
	got, err := r.Wait(t.Context(), func([]byte) bool { return false })
	if err := errors.Join(err, <-written, r.Close()); err != nil {
		t.Fatal(err)
	}
	if len(got) != maxRecorded {
		t.Errorf("%d bytes are kept, want %d", len(got), maxRecorded)
	}
}

// TestNoProgram checks that a program that is not there is no process.
func TestNoProgram(t *testing.T) {
	t.Parallel()
	c, err := newCase([]string{"/nothing/here"}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	got := c.check(t.Context(), &Rule{Section: "protocol 1", Check: func(context.Context, *Case) error {
		_, err := c.Start(Start{})
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, exec.ErrNotFound) {
			t.Errorf("start: %v", err)
		}
		return err
	}})
	if got.State != Broken {
		t.Errorf("the check ends with %+v", got)
	}
}
