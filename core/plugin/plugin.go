// Package plugin is the plugin's side: it reads the host's offer, negotiates,
// listens, answers, serves, and drains when it is told to stop.
//
// A plugin's main function is one call:
//
//	func main() {
//		plugin.Main(example.ServeDataProcessor(&processor{}), plugin.WithTransports(unix.New()))
//	}
//
// [Serve] is the same for a program that owns its main. In handlers, [Logger]
// writes to the host's log, [Host] calls the host's services, and [SetHealth]
// changes what the host sees.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/protocol"
)

// Main serves binding until the host says stop, and exits the process: with 0
// after an orderly stop, with 1 when it cannot serve. It does not return.
//
// SIGINT is swallowed, because a terminal sends it to the plugin as well as to
// the host, and the host decides when to stop. SIGTERM begins an orderly stop
// with [DefaultGrace]; a second one, or one during a stop, ends it. [IgnoresSIGTERM]
// leaves it to the host too.
//
// Under a host that is on go-plugin, what this process prints on standard output,
// and through os.Stderr, goes to the host as such hosts fetch it (GRPCStdio); the
// crash of the process still goes to its own standard error. What was printed
// right before [os.Exit] or a crash may not arrive. When such a host is gone, and
// nobody reads either any more, the process ends. On Unix it leads a session of its
// own, without the terminal of its host, so that it ends with what it has started: on
// Linux also when it is killed. With [OutlivesHost] it goes on, and so does what it has started.
//
// Run by hand, without a host, it says so on standard error and exits with 1. But
// with PLUGWIRE_DEBUG=1 in the environment it serves the hosts that attach to it,
// one after another, until SIGINT or SIGTERM: it prints on standard output the
// variable by which host.Launch attaches instead of launching. With
// PLUGWIRE_DEBUG=go-plugin it serves hosts on go-plugin and prints the
// ReattachConfig, for Terraform for example. It serves the highest version of its
// protocol, of several the first, unless PLUGIN_PROTOCOL_VERSIONS names other
// versions, over the first of its transports.
func Main(binding protocol.Binding, opts ...Option) {
	if cfg, err := newConfig(opts); err == nil { // serve reports it otherwise
		if mode := debugMode(cfg); mode != "" {
			os.Exit(exitCode(serveDebug(mode, cfg, binding, opts)))
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	err := serve(ctx, binding, opts, func(ignoresTerminate bool) {
		ignored := make(chan os.Signal, 1)
		signal.Notify(ignored, os.Interrupt) // unlike Ignore, not inherited by children
		if ignoresTerminate {
			signal.Notify(ignored, syscall.SIGTERM)
			return
		}
		terminate := make(chan os.Signal, 1)
		signal.Notify(terminate, syscall.SIGTERM)
		go func() {
			<-terminate
			signal.Reset(syscall.SIGTERM)
			cancel()
		}()
	})
	os.Exit(exitCode(err))
}

// exitCode reports err where a person or a foreign host looks for it.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	var refusal *refusedError
	var mismatch *handshake.Error
	switch {
	case errors.As(err, &refusal):
		// The host has it from the answer.
	case errors.As(err, &mismatch) && mismatch.Code == handshake.CodeCookie:
		fmt.Fprintf(os.Stderr, "%s: %s.\nRun the host application instead; %s.\n", os.Args[0], mismatch.Reason, mismatch.Hint)
	default:
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
	}
	return 1
}

// refusedError marks an error that the answer has already told the host.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }
