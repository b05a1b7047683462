//go:build unix

package pyvider_test

import (
	"bufio"
	"os/exec"
	"testing"
	"time"
)

// killHost starts a host, reads the plugin's process from the line that it
// prints, and kills the host.
func killHost(t *testing.T, cmd *exec.Cmd, read func(line []byte) (pid int, err error)) (pid int) {
	t.Helper()
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	tooLong := time.AfterFunc(hang, func() { _ = cmd.Process.Kill() }) // the host may have ended
	defer tooLong.Stop()
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		pid, err = read(line)
	}
	killErr := cmd.Process.Kill()
	_ = cmd.Wait() // the error says that the host was killed
	if err != nil || killErr != nil {
		t.Fatalf("what the host says: %q, %v, %v", line, err, killErr)
	}
	return pid
}
