package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/target"
	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
)

// Cause names the kind of what is wrong. Programs read it, so a name never changes.
type Cause string

// The causes.
const (
	CauseNotFound      Cause = "not-found"
	CauseNotExecutable Cause = "not-executable"
	CauseNoexec        Cause = "noexec"
	CauseFormat        Cause = "wrong-architecture"
	CauseNotAProgram   Cause = "not-a-program"
	CauseLoader        Cause = "missing-loader"
	CauseLibrary       Cause = "missing-library"
	CauseInterpreter   Cause = "missing-interpreter"
	CauseCookie        Cause = "cookie"
	CauseNoise         Cause = "prints-before-answer"
	CauseNoAnswer      Cause = "no-answer"
	CauseAnswer        Cause = "bad-answer"
	CauseVersion       Cause = "wrong-version"
	CauseProtocol      Cause = "wrong-protocol"
	CauseTransport     Cause = "no-common-transport"
	CauseSocketPath    Cause = "socket-path-too-long"
	CauseDirectory     Cause = "directory"
	CausePorts         Cause = "ports-taken"
	CauseCertificate   Cause = "certificate"
	CauseSignal        Cause = "signal"
	CauseMemory        Cause = "out-of-memory"
	CausePanic         Cause = "panic"
	CauseExit          Cause = "exit-code"
	CauseTerminal      Cause = "needs-terminal"
	CauseSlow          Cause = "slow-start"
	CauseUnreachable   Cause = "unreachable"
	CauseHealth        Cause = "health"
	CauseReflection    Cause = "no-reflection"
	CauseStop          Cause = "stop"
	CauseUnknown       Cause = "unknown"
)

// maxUnixPath is the longest path of a unix socket.
const maxUnixPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// socketName is the longest name that a plugin gives its socket in the directory for it.
const socketName = "/plugin4294967295"

var (
	library  = regexp.MustCompile(`error while loading shared libraries: ([^:\n]+)|Library not loaded: (\S+)|(\S+): (?:symbol|relocation) .*not found`)
	noMemory = regexp.MustCompile(`out of memory|[Cc]annot allocate memory|failed to reserve|errno=12|std::bad_alloc`)
	panicked = regexp.MustCompile(`(?m)^(panic: .*|fatal error: .*|thread '.*' panicked at .*)$`)
	noTTY    = regexp.MustCompile(`(?i)/dev/tty|not a (tty|terminal)|inappropriate ioctl for device|no controlling terminal|must be run (from|in) a terminal`)
)

// classify returns what is wrong with a start that failed.
func (d *diagnosis) classify(err error) Step {
	start, ok := errors.AsType[*host.StartError](err)
	if !ok {
		return Step{Name: "start", State: stateError, Cause: CauseUnknown, Text: err.Error()}
	}
	s := Step{Name: string(start.Phase), State: stateError, Text: target.InFlags(firstLine(fmt.Sprint(start.Err))), Advice: target.InFlags(start.Hint), Output: printed(start)}
	program := ""
	if d.ref.Attach == nil {
		program = d.ref.Program()
	}
	refusal, _ := errors.AsType[*handshake.Error](err)
	switch {
	case start.Phase == host.PhasePrepare || start.Phase == host.PhaseStart:
		beforeProcess(&s, start, program)
	case refusal != nil:
		d.refused(&s, start, refusal)
	case d.tooLong() && (start.Exit != nil || errors.Is(err, syscall.EINVAL)):
		s.Cause, s.Advice = CauseSocketPath, adviceSocketPath(d.privateDir)
		s.Text = fmt.Sprintf("the path of the plugin's socket is too long: its directory alone has %d bytes", len(d.privateDir))
	case start.Exit != nil:
		d.ended(&s, start)
	case start.Phase == host.PhaseHandshake:
		s.Cause, s.Text = CauseNoAnswer, "the program runs and prints no answer: "+s.Text
		if start.Stdout != "" {
			s.Text = "the program runs and prints lines, and none of them is an answer"
		}
	case isTLS(err):
		s.Cause, s.Text = CauseCertificate, "host and plugin do not accept each other's certificates: "+s.Text
		s.Advice = "the plugin must serve TLS with the certificate of its answer, and accept the one in PLUGIN_CLIENT_CERT"
	case start.Phase == host.PhaseReady && errors.Is(err, context.DeadlineExceeded):
		s.Cause, s.Advice = CauseSlow, adviceSlow(host.PhaseReady)
	case start.Phase == host.PhaseConnect:
		s.Cause = CauseUnreachable
		if s.Advice == "" {
			s.Advice = "the plugin has to listen before it prints its answer, at the address in the answer"
		}
	default:
		s.Cause = CauseUnknown
	}
	return s
}

// printed returns the last lines of the process.
func printed(e *host.StartError) string {
	if e.Stderr != "" {
		return e.Stderr
	}
	return e.Stdout
}

// tooLong reports whether the path of the plugin's socket is longer than the system
// allows.
func (d *diagnosis) tooLong() bool { return len(d.privateDir)+len(socketName) > maxUnixPath }

func adviceSocketPath(dir string) string {
	return fmt.Sprintf("set XDG_RUNTIME_DIR or TMPDIR to a directory with a shorter path than %s: a unix socket's path has at most %d bytes", dir, maxUnixPath)
}

// beforeProcess is about a start without a process: the program's file, or the directory
// for its socket.
func beforeProcess(s *Step, start *host.StartError, program string) {
	info, statErr := os.Stat(program)
	switch {
	case strings.Contains(start.Hint, "XDG_RUNTIME_DIR"):
		s.Cause = CauseDirectory
	case statErr == nil && info.IsDir():
		s.Cause, s.Text, s.Advice = CauseNotExecutable, program+" cannot be executed: it is a directory", "give the path of the program in it"
	case errors.Is(start.Err, exec.ErrNotFound) || statErr != nil:
		s.Cause, s.Text = CauseNotFound, "there is no program "+program
		s.Advice = "check the path, and that the plugin was built; a name without a slash is looked up in $PATH"
	case errors.Is(start.Err, fs.ErrPermission) && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 && isNoexec(program):
		s.Cause, s.Text = CauseNoexec, "the file system of the program is mounted noexec"
		s.Advice = "move the program to another file system, or mount this one with exec"
	case errors.Is(start.Err, fs.ErrPermission):
		s.Cause = CauseNotExecutable
	case errors.Is(start.Err, syscall.ENOEXEC):
		s.Cause = CauseNotAProgram
		if strings.Contains(start.Hint, "this system is") {
			s.Cause = CauseFormat
		}
	case errors.Is(start.Err, fs.ErrNotExist) && isScript(program):
		s.Cause = CauseInterpreter
	case errors.Is(start.Err, fs.ErrNotExist):
		s.Cause = CauseLoader
	default:
		s.Cause = CauseUnknown
	}
}

// refused is about two sides that did not agree.
func (d *diagnosis) refused(s *Step, start *host.StartError, refusal *handshake.Error) {
	s.Text, s.Advice = target.InFlags(refusal.Error()), target.InFlags(start.Hint)
	if s.Advice == "" {
		s.Advice = target.InFlags(refusal.Hint)
	}
	switch refusal.Code {
	case handshake.CodeCookie:
		s.Cause = CauseCookie
		if s.Advice == "" {
			s.Advice = "give the plugin's cookie with -cookie NAME=VALUE, or its application with -preset"
		}
	case handshake.CodeVersion:
		s.Cause = CauseVersion
	case handshake.CodeProtocol, handshake.CodeWire:
		s.Cause = CauseProtocol
	case handshake.CodeSecurity:
		s.Cause = CauseCertificate
	case handshake.CodeTransport:
		s.Cause = CauseTransport
		switch {
		case d.tooLong():
			s.Cause, s.Advice = CauseSocketPath, adviceSocketPath(d.privateDir)
		case strings.Contains(start.Hint, "XDG_RUNTIME_DIR"):
			s.Cause, s.Text = CauseDirectory, "there is no directory for the plugin's socket, and without that: "+s.Text
		case strings.Contains(refusal.Reason, "none of the ports"):
			s.Cause, s.Advice = CausePorts, "stop a program that uses one of the ports, or let the host offer more (-port-range, host.WithPortRange)"
		}
	case handshake.CodeAnswer, handshake.CodeCore:
		s.Cause = CauseAnswer
	default:
		s.Cause = CauseUnknown
	}
}

// ended is about a process that ended before it was ready.
func (d *diagnosis) ended(s *Step, start *host.StartError) {
	text := start.Stderr + "\n" + start.Stdout
	exit := *start.Exit
	s.Text = fmt.Sprintf("the program ended before it answered, with %v", exit)
	switch {
	case library.MatchString(text):
		s.Cause, s.Text = CauseLibrary, "the program needs a library that is not there: "+library.FindString(text)
		s.Advice = "install that library, or build the program statically (CGO_ENABLED=0)"
	case noMemory.MatchString(text) || exit.Signal != "" && oomKills() > d.oomBefore:
		s.Cause, s.Text = CauseMemory, "the program had too little memory"
		s.Advice = "give it more: look at ulimit -v, the limit of its container or cgroup (memory.max), and what else runs"
	case panicked.MatchString(text):
		s.Cause, s.Text = CausePanic, "the program crashed before it answered: "+panicked.FindString(text)
		s.Advice = "the stack that it has printed says where"
	case exit.Signal == "killed":
		s.Cause = CauseSignal
		s.Advice = "something killed it: the kernel does when memory runs out (dmesg, memory.events of its cgroup), and so do security modules"
	case exit.Signal != "":
		s.Cause = CauseSignal
		s.Advice = "run the program in a debugger, or look at its core dump"
	case noTTY.MatchString(text):
		s.Cause, s.Text = CauseTerminal, "the program wants a terminal, and a plugin has none"
		s.Advice = "a plugin must not ask a person: take what it needs from its environment, arguments or the host's calls"
	case exit.Code == 0:
		s.Cause, s.Text = CauseNoAnswer, "the program ended with exit code 0 and printed no answer"
		s.Advice = "is it a plugin? A plugin prints a line such as 1|1|unix|/path|grpc and goes on"
	default:
		s.Cause = CauseExit
		s.Advice = "its last lines say why; run it with the same environment and -log debug to see more"
	}
}

// isTLS reports whether an error is of TLS or of a certificate.
func isTLS(err error) bool {
	_, alert := errors.AsType[tls.AlertError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, verify := errors.AsType[*tls.CertificateVerificationError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return true
	}
	return alert || record || verify || invalid || strings.Contains(err.Error(), "tls: ") || strings.Contains(err.Error(), "x509: ")
}

func isUnimplemented(err error) bool {
	code := status.Code(err)
	return code == codes.Unimplemented || code == codes.NotFound
}

// message returns the text of an error without gRPC's own words.
func message(err error) string {
	if s, ok := status.FromError(err); ok {
		return fmt.Sprintf("%s (%s)", s.Message(), s.Code())
	}
	return err.Error()
}
