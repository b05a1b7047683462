//go:build unix

// Package pyvider_test runs hosts and plugins on a release of pyvider-rpcplugin
// with ours. The service is that of plugins/dataprocessor.
package pyvider_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// hang is the time after which a waiting test gives up. Nothing is expected to
// take this long.
const hang = time.Minute

// roleVariable makes the test's program a plugin or a host.
const roleVariable = "PYVIDER_TEST_ROLE"

// scratch is the directory for everything that the tests write; set by
// TestMain.
var scratch string

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVariable); role {
	case "":
	case rolePlugin:
		bePlugin()
	case roleHost:
		os.Exit(beHost())
	default:
		fmt.Fprintln(os.Stderr, "unknown role", role)
		os.Exit(1)
	}
	// By default a program with the race detector sleeps for a second before it
	// exits.
	err := errors.Join(os.Unsetenv("XDG_RUNTIME_DIR"), os.Setenv("GORACE", "atexit_sleep_ms=0"))
	if err == nil {
		err = flag.Set("test.parallel", "4") // the tests spend most of their time waiting
	}
	if err == nil {
		scratch, err = os.MkdirTemp("", "pv-") // short, because the path of a socket is limited
	}
	if err == nil {
		err = os.Setenv("TMPDIR", scratch)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		fmt.Print(&summary)
		if err := cleanUp(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		os.Exit(code)
	}))
}

// cleanUp removes the scratch directory. It returns an error if the tests have
// left files of ours in it, or a socket of theirs.
func cleanUp() error {
	left, err := filepath.Glob(filepath.Join(scratch, "*plu*"))
	if err != nil {
		return err
	}
	sockets, err := filepath.Glob(filepath.Join(scratch, "*.sock"))
	if err != nil {
		return err
	}
	if err := os.RemoveAll(scratch); err != nil {
		return err
	}
	if left = append(left, sockets...); len(left) > 0 {
		return fmt.Errorf("the tests left behind: %s", strings.Join(left, ", "))
	}
	return nil
}

// testContext returns a context that ends with the test, or when the test
// hangs.
func testContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), hang)
	tb.Cleanup(cancel)
	return ctx
}

// eventually waits until check returns no complaint.
func eventually(tb testing.TB, check func() (complaint string)) {
	tb.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(hang); ; <-poll.C {
		complaint := check()
		if complaint == "" {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("still after %v: %s", hang, complaint)
		}
	}
}
