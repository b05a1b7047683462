package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
)

func TestStartErrorText(t *testing.T) {
	t.Parallel()
	cause := errors.New("it was a cause")
	for _, tt := range []struct {
		err  StartError
		want string
	}{
		{StartError{Phase: PhasePrepare, Command: "p -v", Elapsed: time.Second, Err: cause}, "plugin p -v did not start (prepare): it was a cause"},
		{StartError{Phase: PhaseStart, Command: "p", Elapsed: 1234567 * time.Nanosecond, Err: cause, Hint: "do this"}, "plugin p did not start (start, after 1ms): it was a cause: do this"},
		{
			StartError{Phase: PhaseHandshake, Command: "p", Err: cause, Stdout: "a\nb\n", Stderr: "c\r\nd\n\n"},
			"plugin p did not start (handshake, after 0s): it was a cause\n  its last lines on stdout:\n    a\n    b\n  its last lines on stderr:\n    c\n    d",
		},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
		if !errors.Is(&tt.err, cause) {
			t.Errorf("%v does not unwrap to its cause", &tt.err)
		}
	}
}

func TestExitErrorText(t *testing.T) {
	t.Parallel()
	const who = "plugin p (process 7) "
	for _, tt := range []struct {
		err  ExitError
		want string
	}{
		{ExitError{}, "ended in good order, which this host had not asked for (exit code 0)"},
		{ExitError{Status: ExitStatus{Code: 3}, Stderr: "oh\n"}, "ended (exit code 3)\n  its last lines on stderr:\n    oh"},
		{
			ExitError{Status: ExitStatus{Code: 3}, Stderr: strings.Repeat("x", maxShownLine) + "\n" + strings.Repeat("x", maxShownLine-1) + "\u00e9yz"},
			"ended (exit code 3)\n  its last lines on stderr:\n    " + strings.Repeat("x", maxShownLine) + "\n    " + strings.Repeat("x", maxShownLine-1) + "... (and 4 more bytes)",
		},
		{ExitError{Status: ExitStatus{Signal: "killed"}}, "ended (signal: killed)"},
		{ExitError{Status: ExitStatus{Code: 2}, Panic: "no", Stack: "goroutine 1", Stderr: "panic: no\n"}, "crashed: no (exit code 2)"},
		{ExitError{Step: StepAsk, Status: ExitStatus{Code: 1}}, "stopped when asked, with an error (exit code 1)"},
		{ExitError{Step: StepTerminate, Status: ExitStatus{Signal: "terminated"}}, "did not stop in time when asked, and was terminated (signal: terminated)"},
		{ExitError{Step: StepKill, Status: ExitStatus{Signal: "killed"}}, "did not stop in time when asked, nor when terminated, and was killed (signal: killed)"},
		{ExitError{Status: ExitStatus{Signal: "killed"}, Err: errors.New("why")}, "ended (signal: killed): why"},
	} {
		tt.err.Command, tt.err.ID = "p", "7"
		if got := tt.err.Error(); got != who+tt.want {
			t.Errorf("%q, want %q", got, who+tt.want)
		}
	}
}

// TestErrorsMatch checks that errors match what users of net, go-plugin and quic-go
// look for.
func TestErrorsMatch(t *testing.T) {
	t.Parallel()
	cause := &handshake.Error{Code: handshake.CodeVersion, Reason: "r"}
	for _, tt := range []struct {
		name   string
		err    error
		target error
		want   bool
	}{
		{"a plugin that ended is closed", &ExitError{}, net.ErrClosed, true},
		{"also with a cause", &ExitError{Err: errLost}, net.ErrClosed, true},
		{"and it has that cause", &ExitError{Err: errLost}, errLost, true},
		{"but it is nothing else", &ExitError{}, io.EOF, false},
		{"a plugin without its connection is closed", &lostError{"p"}, net.ErrClosed, true},
		{"a plugin that was stopped is closed", errClosed, net.ErrClosed, true},
		{"a plugin that was let go is closed", errLetGo, net.ErrClosed, true},
		{"a start that failed is not", &StartError{Err: cause}, net.ErrClosed, false},
		{"a mismatch matches by its code", &StartError{Err: cause}, &handshake.Error{Code: handshake.CodeVersion}, true},
		{"not by another", &StartError{Err: cause}, &handshake.Error{Code: handshake.CodeWire}, false},
		{"the time of a start is a deadline", &StartError{Err: &timeoutError{time.Second}}, context.DeadlineExceeded, true},
	} {
		if got := errors.Is(tt.err, tt.target); got != tt.want {
			t.Errorf("%s: errors.Is is %t", tt.name, got)
		}
	}
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{&StartError{Err: &timeoutError{time.Second}}, true},
		{&StartError{Err: fmt.Errorf("wrapped: %w", context.DeadlineExceeded)}, true},
		{&StartError{Err: cause}, false},
	} {
		var timeout interface{ Timeout() bool }
		if !errors.As(tt.err, &timeout) || timeout.Timeout() != tt.want {
			t.Errorf("%v: Timeout is not %t", tt.err, tt.want)
		}
	}
}
