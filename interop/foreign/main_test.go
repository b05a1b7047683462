//go:build unix

// Package foreign_test has our host run plugins that were written for other
// implementations of gRPC, in other languages, as worked examples of
// docs/protocol.md.
package foreign_test

import (
	"context"
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

func TestMain(m *testing.M) {
	if name := os.Getenv(hostVariable); name != "" {
		os.Exit(beHost(name))
	}
	scratch, err := os.MkdirTemp("", "foreign-") // short, because the path of a socket is limited
	if err == nil {
		err = os.Setenv("TMPDIR", scratch)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		fmt.Print(&summary)
		if err := cleanUp(scratch); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		os.Exit(code)
	}))
}

// cleanUp removes the directory for temporary files and returns an error if the
// tests have left files in it.
func cleanUp(scratch string) error {
	left, err := filepath.Glob(filepath.Join(scratch, "plug*"))
	if err != nil {
		return err
	}
	if err := os.RemoveAll(scratch); err != nil {
		return err
	}
	if len(left) > 0 {
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
func eventually(tb testing.TB, within time.Duration, check func() (complaint string)) {
	tb.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(within); ; <-poll.C {
		complaint := check()
		if complaint == "" {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("still after %v: %s", within, complaint)
		}
	}
}
