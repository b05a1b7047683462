package host

import (
	"context"
	"io"
	"os/exec"
	"strings"

	"github.com/plugwire/plugwire/core/internal/leash"
	"github.com/plugwire/plugwire/core/internal/negotiation"
)

// Runner starts plugins somewhere. The default is [LocalRunner], which starts a process
// of this machine. Another runner may wrap that one, or start a container, or a
// goroutine of a test. Its methods are safe for concurrent use.
//
// All that a plugin must be told is in the environment of the command, which the runner
// passes on unchanged, except for [StartConfig.SetPrivateDir]. It adds no variable of the
// handshake from its own environment.
//
// What else a runner can do, it says by optional interfaces. A runner without one of
// them gets the default that works everywhere:
//
//   - [FilePasser]: the plugin inherits the files of the command. By default the host
//     passes no lifeline, and offers no transport whose connection is inherited. The
//     runner must then end the plugin itself when the host dies.
//   - [PathRunner]: the runner runs the command's own program. By default
//     [WithChecksum] is an error.
//   - [CredentialKeeper]: the kernel tells both sides each other's user. By default it
//     does. A runner whose plugins have another user than the command names, or a user
//     namespace, says no: the host then demands mutual TLS.
//   - [Wrapper]: what the wrapped runner can do.
//   - A [Process] may be a [Translator], for a plugin that sees other addresses, and a
//     [Quitter], for a plugin that can print where it hangs.
type Runner interface {
	// Start starts the plugin and returns as soon as it runs. The context bounds the
	// start only, never the life of the process. The host closes the inherited files
	// after Start returns.
	Start(ctx context.Context, cfg StartConfig) (Process, error)
}

// StartConfig is what a [Runner] starts. It may get more fields. A runner that wraps
// another passes on the value that it was given, changed where necessary, and not a new
// one: the value also has unexported fields, for [LocalRunner].
type StartConfig struct {
	// Command is made for this one start, so the runner may change it. Path, Args, Env,
	// Dir, Stdin, ExtraFiles and SysProcAttr are set.
	//
	// ExtraFiles and Stdin are what the user has asked for and, with a [FilePasser],
	// what the host adds: a lifeline and the files of transports. A runner that cannot
	// pass them on refuses a command that has any.
	Command *exec.Cmd
	// Name is the plugin's name ([WithName]), for the name of a container or a unit.
	Name string
	// PrivateDir is the directory for the plugin's socket, empty if there is none. The
	// host has made it and removes it. A runner whose plugins see another file system
	// shows it to them, as by a bind mount, and calls SetPrivateDir.
	PrivateDir string
	// Security is what the host offers to the plugin, in the order of its preference:
	// constants of package handshake.
	Security []string

	leash *leash.Leash // nil for none
}

// SetPrivateDir makes the plugin find its private directory at path. The empty path
// means that the plugin has none: it then makes a directory of its own. The process must
// be a [Translator], which tells the host where the plugin's socket is.
func (c StartConfig) SetPrivateDir(path string) {
	prefix := negotiation.EnvSocketDir + "="
	env := make([]string, 0, len(c.Command.Env))
	for _, variable := range c.Command.Env {
		if !strings.HasPrefix(variable, prefix) {
			env = append(env, variable)
		}
	}
	if path != "" {
		env = append(env, prefix+path)
	}
	c.Command.Env = env
}

// Process is what a [Runner] has started. Its methods are safe for concurrent use. A
// context bounds the call only: when it ends, the call returns and the process goes on.
//
// A process may also be a [Translator]. A runner that wraps another may return a process
// of its own type. Give that type an Unwrap method as in [ProcessWrapper]: without it
// errors and logs about the process say less.
type Process interface {
	// ID names the process for people: its number, if it has one.
	ID() string
	// Output returns the process's standard output and standard error. The caller reads
	// both to their end and closes them. Close must end a Read.
	Output() (stdout, stderr io.ReadCloser)
	// Wait waits until the process, and all that it started, has ended, and returns how
	// it ended.
	Wait(ctx context.Context) (ExitStatus, error)
	// Terminate asks the process, and all that it started, to end. It returns
	// errors.ErrUnsupported if the process cannot be asked.
	Terminate(ctx context.Context) error
	// Kill ends the process and all that it started. It does not wait for the end.
	Kill(ctx context.Context) error
}
