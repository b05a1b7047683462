//go:build linux

// Package lifeplugin is the command life-plugin. It serves the echo service of the
// end-to-end tests, with handlers that make a process hard to end: they never return,
// start other processes or cut the connection. Its main function ends in the way that
// the first argument names.
package lifeplugin

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/transport/unix"
)

// Main is the command.
func Main() {
	binding := echopb.ServeEcho(handler{})
	transports := plugin.WithTransports(unix.New())
	serve := func() {
		if err := plugin.Serve(context.Background(), binding, transports); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	var ending string
	if len(os.Args) > 1 {
		ending = os.Args[1]
	}
	switch ending {
	case "":
		plugin.Main(binding, transports)
	case "slow hook":
		plugin.Main(binding, transports, plugin.OnShutdown(func(context.Context) error { select {} }))
	case "default signals": // SIGINT ends it
		serve()
	case "other thread":
		offMainThread(serve)
	case "until SIGTERM":
		terminated := make(chan os.Signal, 1)
		signal.Notify(terminated, syscall.SIGTERM)
		serve()
		<-terminated
	case "never":
		signal.Ignore(syscall.SIGTERM)
		serve()
		for {
			time.Sleep(time.Hour)
		}
	default:
		fmt.Fprintf(os.Stderr, "life-plugin: do not know how to end by %q\n", ending)
		os.Exit(2)
	}
}

// offMainThread calls f on a thread other than the process's first, which is
// then idle.
func offMainThread(f func()) {
	off, done := make(chan struct{}), make(chan struct{})
	var try func()
	try = func() {
		runtime.LockOSThread()
		if syscall.Gettid() == os.Getpid() {
			go try() // gets another thread while this goroutine keeps the main one
			<-off
			runtime.UnlockOSThread()
			return
		}
		close(off)
		f()
		close(done)
	}
	go try()
	<-done
}
