// Package plugin is the plugin's side. It reads the host's offer, negotiates, listens,
// answers, serves, and drains when the host asks it to stop.
//
// A plugin's main function is one call:
//
//	func main() {
//		plugin.Main(example.ServeDataProcessor(&processor{}), plugin.WithTransports(unix.New()))
//	}
//
// [Serve] does the same for a program that has a main of its own. In handlers, [Logger]
// writes to the host's log, [Host] calls the host's services, and [SetHealth] changes the
// health that the host sees. [OnReady] and [OnShutdown] add functions that run at the
// beginning and at the end.
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

// Main serves binding until the host asks it to stop, and exits the process: with 0
// after an orderly stop, with 1 when it cannot serve. It does not return.
//
// Main ignores SIGINT. A terminal sends that signal to the plugin as well as to the host,
// and the host decides when to stop. SIGTERM begins an orderly stop with [DefaultGrace]. A
// second SIGTERM, or one during a stop, ends the process. [IgnoresSIGTERM] makes Main
// ignore SIGTERM too.
//
// Under a host on go-plugin, the host gets what this process prints on standard output and
// through os.Stderr (GRPCStdio). The text of a crash still goes to standard error. What
// was printed right before [os.Exit] or a crash may not arrive. When such a host has
// ended, the process ends too. On Unix the process leads a session of its own, without the
// host's terminal, so that what it has started ends with it. On Linux that is so also when
// the process is killed. With [OutlivesHost] it goes on, together with what it has
// started.
//
// Without a host, Main says so on standard error and exits with 1. With PLUGWIRE_DEBUG=1
// in the environment it serves the hosts that attach to it instead, until SIGINT or
// SIGTERM. It prints on standard output the variable that makes host.Launch attach. With
// PLUGWIRE_DEBUG=go-plugin it serves hosts on go-plugin, Terraform for example, and prints
// the ReattachConfig. It serves the first of its protocols, over the first of its
// transports, in the highest version unless PLUGIN_PROTOCOL_VERSIONS names others.
func Main(binding protocol.Binding, opts ...Option) {
	if cfg, err := newConfig(opts); err == nil { // serve reports it otherwise
		if mode := debugMode(cfg); mode != "" {
			os.Exit(exitCode(serveDebug(mode, cfg, binding, opts)))
		}
	}
	os.Exit(exitCode(Run(context.Background(), binding, opts...)))
}

// Run is [Main] for a program that goes on when the plugin has stopped: it returns instead
// of exiting, and it ignores PLUGWIRE_DEBUG. It changes the process as Main does:
// its signals, what it prints under a host on go-plugin, and its end after the host's. When
// Run returns, output goes where it went before, and SIGTERM ends the process again. SIGINT
// stays ignored, because the host decides when the process ends.
//
// The end of ctx stops the plugin. The error is that of [Serve].
func Run(ctx context.Context, binding protocol.Binding, opts ...Option) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return serve(ctx, binding, opts, func(ignoresTerminate bool) {
		ignored := make(chan os.Signal, 1)
		signal.Notify(ignored, os.Interrupt) // unlike Ignore, not inherited by children
		if ignoresTerminate {
			signal.Notify(ignored, syscall.SIGTERM)
			return
		}
		terminate := make(chan os.Signal, 1)
		signal.Notify(terminate, syscall.SIGTERM)
		go func() {
			select {
			case <-terminate:
			case <-ctx.Done():
			}
			signal.Reset(syscall.SIGTERM)
			cancel()
		}()
	})
}

// exitCode returns the exit code for err, and prints err to standard error, where a person
// or a foreign host looks for it.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	var refusal *refusedError
	var mismatch *handshake.Error
	switch {
	case errors.As(err, &refusal):
		// The answer has told the host.
	case errors.As(err, &mismatch) && mismatch.Code == handshake.CodeCookie:
		fmt.Fprintf(os.Stderr, "%s: %s.\nRun the host application instead; %s.\n", os.Args[0], mismatch.Reason, mismatch.Hint)
	default:
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
	}
	return 1
}

// refusedError marks an error that the host knows already, from the answer or from the
// status of a call.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }
