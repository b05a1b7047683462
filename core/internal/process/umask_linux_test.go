package process_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/core/internal/process"
)

// TestUmaskIsPrivate uses a process for each case: a umask belongs to the whole process.
func TestUmaskIsPrivate(t *testing.T) {
	const answers = "the umask is private: "
	if os.Getenv("ASK_FOR_UMASK") != "" {
		fmt.Printf("%s%t\n", answers, process.UmaskIsPrivate())
		return
	}
	for umask, want := range map[string]bool{
		"0": false, "002": false, "020": false, "022": true, "027": true, "077": true, "0177": true, "0777": true,
	} {
		cmd := exec.Command("sh", "-c", `umask "$0"; exec "$@"`, umask, os.Args[0], "-test.run=^TestUmaskIsPrivate$")
		cmd.Env = append(os.Environ(), "ASK_FOR_UMASK=1", "GORACE=atexit_sleep_ms=0")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), fmt.Sprintf("%s%t", answers, want)) {
			t.Errorf("umask %s: %v, want %t\n%s", umask, err, want, out)
		}
	}
}
