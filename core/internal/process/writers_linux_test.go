package process

import (
	"bufio"
	"fmt"
	"os/exec"
	"testing"
)

// TestDescribeProcess describes a process whose name contains control characters.
func TestDescribeProcess(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sh", "-c", `printf 'a\n\033[2J' > /proc/$$/comm; echo; read x`)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if got, want := describeProcess(cmd.Process.Pid), fmt.Sprintf(`process %d ("a\n\x1b[2J")`, cmd.Process.Pid); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if err := stdin.Close(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // read has failed
}
