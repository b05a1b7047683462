package transporttest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plugwire/plugwire/core/transport"
)

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "8"); err != nil { // a variant that must fail spends most of its time waiting
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func TestToyPasses(t *testing.T) {
	Run(t, func() toy { return toy{} })
}

func TestPreparedToyPasses(t *testing.T) {
	Run(t, func() preparedToy { return preparedToy{} })
}

func TestNativeToyPasses(t *testing.T) {
	Run(t, func() nativeToy { return nativeToy{} })
}

// variantEnv makes this test binary run the suite on one of the variants.
const variantEnv = "TRANSPORTTEST_VARIANT"

// TestVariant is run by TestBrokenTransportsFail, in a process of its own.
func TestVariant(t *testing.T) {
	name := os.Getenv(variantEnv)
	if name == "" {
		t.Skip("for TestBrokenTransportsFail only")
	}
	v, ok := variants()[name]
	if !ok {
		t.Fatalf("no variant %q", name)
	}
	limit := limit
	if v.says == hangs {
		limit = time.Second
	}
	run(t, func() transport.Transport { return v.transport() }, limit)
}

// TestBrokenTransportsFail proves that each check of the suite can fail. A
// transport with the defect that the check is for must fail the check, like a
// test and without a crash.
func TestBrokenTransportsFail(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	proven := make(map[string]bool)
	for name, v := range variants() {
		proven[v.check] = true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.HasPrefix(v.check, "v1/"+prepared.prefix()) && !canInherit {
				t.Skip("a process of this system cannot inherit files")
			}
			test := "TestVariant/" + v.check
			pattern := "^" + strings.ReplaceAll(test, "/", "$/^") + "$"
			cmd := exec.CommandContext(t.Context(), exe, "-test.run="+pattern)
			cmd.Env = append(os.Environ(), variantEnv+"="+name)
			out, err := cmd.CombinedOutput()
			exit := new(exec.ExitError)
			if !errors.As(err, &exit) || exit.ExitCode() != 1 ||
				!strings.Contains(string(out), "--- FAIL: "+test) || !strings.Contains(string(out), v.says) {
				t.Errorf("the suite ended with %v, want exit status 1 and a failure of %s that says %q; its output:\n%s", err, test, v.says, out)
			}
		})
	}
	if !proven["Identity"] {
		t.Error("no variant proves that the check Identity can fail")
	}
	for _, c := range append(checks, check{name: netTest, ways: anyWay}) {
		if c.ways == prepared && !canInherit {
			continue
		}
		if !slices.ContainsFunc([]way{byAddress, bySession, prepared}, func(w way) bool {
			return c.ways&w != 0 && proven["v1/"+w.prefix()+c.name]
		}) {
			t.Errorf("no variant proves that the check %s can fail", c.name)
		}
	}
}
