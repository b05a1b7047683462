package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/privdir"
)

// fail ends what was started and says why.
func (l *launch) fail(cause error) error {
	e := &StartError{Attach: l.attaching, Phase: l.phase, Name: l.name, Command: l.command, Elapsed: time.Since(l.started), Err: cause}
	if l.child == nil {
		e.Hint = diagnose(cause, l.program)
	}
	if c := l.child; c != nil {
		ended := c.hasExited()
		if why := c.whyStopped(); why != "" && errors.Is(cause, context.DeadlineExceeded) {
			e.Err = fmt.Errorf("%w: %s", cause, why)
		}
		if err := c.stop(); err != nil {
			e.Err = errors.Join(e.Err, err)
		}
		if ended {
			e.Exit = &c.status
			e.Err = fmt.Errorf("the process ended with %v before it was ready", c.status)
			if !errors.Is(cause, errExited) {
				e.Err = fmt.Errorf("%w (%w)", cause, e.Err)
			}
		}
		e.Stdout, e.Stderr = c.stdout.Tail(), c.stderr.Tail()
		if ended && (strings.Contains(e.Stderr, otherCookie) || strings.Contains(e.Stderr, noCookie)) {
			e.Err = &cookieError{e.Err}
		}
		if e.Hint = hint(e); e.Hint == "" && e.Exit != nil && l.private != nil && len(l.private.Path()) > maxSocketDir {
			e.Hint = fmt.Sprintf("the directory for its socket has a path of %d bytes, and a plugin on go-plugin needs one of at most %d: set XDG_RUNTIME_DIR or TMPDIR of the host to a shorter directory", len(l.private.Path()), maxSocketDir)
		}
	}
	if l.trace != nil { // nil if the options were wrong
		l.trace.failed(e)
	}
	l.shown.End(e)
	return e
}

// maxSocketDir is the longest path of a directory in which a plugin on go-plugin can make
// its socket, which has a name such as plugin4294967295. Such a plugin ends without a
// word of what is too long.
const maxSocketDir = len(syscall.RawSockaddrUnix{}.Path) - 1 - len("/plugin4294967295")

// otherCookie is what go-plugin's plugins print before they exit if the cookie is
// not theirs (server.go there).
const otherCookie = "This binary is a plugin. These are not meant to be executed directly."

// noCookie is what they print if the value of their own cookie is empty. Plugins whose
// cookie is a secret of the host take that value from their environment, so the host has
// not set it (server.go there; CrowdSec's plugins).
const noCookie = "Misconfigured ServeConfig given to serve this plugin: no magic cookie"

// cookieError is the end of a plugin on go-plugin that has refused the cookie. Its text is
// that of the end, because the hint says the rest.
type cookieError struct{ end error }

func (e *cookieError) Error() string { return e.end.Error() }

// Unwrap returns the end, and what a plugin of this project would have answered.
func (e *cookieError) Unwrap() []error {
	return []error{e.end, &handshake.Error{Code: handshake.CodeCookie, Reason: "the plugin refused the cookie"}}
}

func hint(e *StartError) string {
	switch {
	case errors.Is(e.Err, privdir.ErrDir):
		return hintDir
	case e.Exit != nil && strings.Contains(e.Stderr, otherCookie):
		return "it is on go-plugin and expects another cookie: give host.WithCookie its MagicCookieKey and MagicCookieValue"
	case e.Exit != nil && strings.Contains(e.Stderr, noCookie):
		return "it is on go-plugin, and takes the value of its cookie from its environment: give host.WithCookie its MagicCookieKey and a value"
	case e.Attach && (errors.Is(e.Err, fs.ErrNotExist) || errors.Is(e.Err, syscall.ECONNREFUSED)):
		return "has it ended? Start it again, and take what it prints then"
	case errors.Is(e.Err, context.DeadlineExceeded) && e.Phase == PhaseHandshake:
		return "is it a plugin? A plugin prints a line such as 1|1|unix|/path|grpc as soon as it is ready"
	case e.Hint == "" && e.Exit != nil && *e.Exit == ExitStatus{} && e.Stderr == "":
		return "is it a plugin? It ended as if its work was done"
	default:
		return e.Hint
	}
}
