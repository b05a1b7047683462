//go:build unix

package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Everything that this program does before main delays each command, and a completion in a
// shell runs it for every key. Its packages need half of the limits, in 5 ms.
const (
	maxInitBytes       = 3 << 20
	maxInitAllocations = 20_000
)

// TestStart measures what the program allocates before main. Unlike the time, that does
// not depend on what else the machine does.
func TestStart(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "plugwire") // the name makes the tests the command
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-h")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Exit codes: ") {
		t.Fatalf("%v\n%s", err, out)
	}
	size, allocations := 0, 0
	lines := regexp.MustCompile(`(?m)^init \S+ @.* ms clock, (\d+) bytes, (\d+) allocs$`).FindAllStringSubmatch(string(out), -1)
	for _, m := range lines {
		b, _ := strconv.Atoi(m[1]) // the pattern has only digits
		n, _ := strconv.Atoi(m[2])
		size, allocations = size+b, allocations+n
	}
	t.Logf("%d packages, %d bytes, %d allocations", len(lines), size, allocations)
	if len(lines) < 20 || size > maxInitBytes || allocations > maxInitAllocations {
		t.Errorf("%d packages make %d allocations of %d bytes before main, want at most %d of %d", len(lines), allocations, size, maxInitAllocations, maxInitBytes)
	}
}
