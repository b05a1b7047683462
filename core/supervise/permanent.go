package supervise

import (
	"errors"
	"slices"
	"syscall"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
)

// Permanent marks an error of a [LaunchFunc] or of a function given to [WithInit] as one
// that another start would meet again. The handle is then down at once, until it is
// restarted. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

// permanentCodes are what a program has built in, so that no other start has more luck.
// A transport is not among them: it may be in use for a moment.
var permanentCodes = []handshake.Code{
	handshake.CodeCookie, handshake.CodeOffer, handshake.CodeCore, handshake.CodeProtocol,
	handshake.CodeVersion, handshake.CodeSession, handshake.CodeWire, handshake.CodeSecurity,
}

// isPermanent reports whether another start of the same plugin would fail for the same
// reason.
func isPermanent(err error) bool {
	if mark, ok := errors.AsType[*permanentError](err); ok && mark != nil {
		return true
	}
	if version, ok := errors.AsType[*VersionError](err); ok && version != nil {
		return true
	}
	if mismatch, ok := errors.AsType[*handshake.Error](err); ok {
		return slices.Contains(permanentCodes, mismatch.Code)
	}
	return isWrongProgram(err)
}

// isWrongProgram reports whether the program is not a plugin at all. A program that is missing
// may be in the middle of its own replacement, so it does not count.
func isWrongProgram(err error) bool {
	if errors.Is(err, host.ErrChecksum) || errors.Is(err, syscall.ENOEXEC) {
		return true
	}
	start, ok := errors.AsType[*host.StartError](err)
	endedAsIfDone := ok && start.Phase == host.PhaseHandshake && start.Exit != nil && *start.Exit == host.ExitStatus{}
	return endedAsIfDone
}
