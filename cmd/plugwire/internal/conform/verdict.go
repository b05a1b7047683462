package conform

import (
	"errors"
	"fmt"
	"strings"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
)

// Failure says that a program breaks a rule.
type Failure struct { //nolint:errname // what a rule reports
	// Expected and Seen are what should have been, and what was.
	Expected, Seen string
	// Advice is what to do.
	Advice string
}

// Error implements error.
func (f *Failure) Error() string {
	return fmt.Sprintf("seen: %s; expected: %s", f.Seen, f.Expected)
}

// Fail returns a failure.
func Fail(expected, seen, advice string) error {
	return &Failure{Expected: expected, Seen: seen, Advice: advice}
}

// notApplicableError is the reason why a rule has no meaning for a program.
type notApplicableError struct{ reason string }

func (e *notApplicableError) Error() string { return "does not apply: " + e.reason }

// NotApplicable returns what a check returns if the rule has no meaning for this program.
func NotApplicable(format string, args ...any) error {
	return &notApplicableError{fmt.Sprintf(format, args...)}
}

// State is how a check ended.
type State string

// The states.
const (
	Pass     State = "pass"
	Failed   State = "fail"
	NotMeant State = "n/a"   // the rule does not apply
	Broken   State = "error" // the check could not be made
)

// Result is how the check of one rule ended, as a program reads it.
type Result struct {
	Rule     string `json:"rule"`
	Title    string `json:"title"`
	State    State  `json:"state"`
	Expected string `json:"expected,omitempty"`
	Seen     string `json:"seen,omitempty"`
	Advice   string `json:"advice,omitempty"`
	// Reason says why the rule does not apply, or why the check could not be made.
	Reason string `json:"reason,omitempty"`
	// Output has the last lines that the processes of a failed check have printed.
	Output  string  `json:"output,omitempty"`
	Seconds float64 `json:"seconds"`
}

// set sets the state and what belongs to it.
func (r *Result) set(err error) {
	if err == nil {
		r.State = Pass
		return
	}
	if f, ok := errors.AsType[*Failure](err); ok {
		r.State, r.Expected, r.Seen, r.Advice = Failed, f.Expected, f.Seen, f.Advice
		return
	}
	if n, ok := errors.AsType[*notApplicableError](err); ok {
		r.State, r.Reason = NotMeant, n.reason
		return
	}
	r.State, r.Reason = Broken, err.Error()
}

// text returns the result for a person, without control characters.
func (r *Result) text(mark func(State) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-34s  %s\n", mark(r.State), r.Rule, r.Title)
	for _, part := range []struct{ name, text string }{
		{"expected", r.Expected},
		{"seen", r.Seen},
		{"what to do", r.Advice},
		{"because", r.Reason},
	} {
		for i, line := range strings.Split(output.Safe(part.text), "\n") {
			if part.text == "" {
				break
			}
			name := part.name
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(&b, "       %-10s  %s\n", name, line)
		}
	}
	for line := range strings.Lines(r.Output) {
		fmt.Fprintf(&b, "       %-10s  | %s\n", "", strings.TrimRight(output.Safe(line), "\n"))
	}
	return b.String()
}
