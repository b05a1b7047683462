//go:build unix

package e2e_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/unix"
)

// sumOf returns the checksum of a file.
func sumOf(tb testing.TB, hash crypto.Hash, path string) []byte {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	h := hash.New()
	_, _ = h.Write(data) // never fails, by its contract
	return h.Sum(nil)
}

// copyOf returns a copy of the echo plugin that a test may change.
func copyOf(tb testing.TB) string {
	tb.Helper()
	data, err := os.ReadFile(echoPlugin().Path)
	if err != nil {
		tb.Fatal(err)
	}
	return writeProgram(tb, data)
}

func writeProgram(tb testing.TB, data []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "echo-plugin")
	if err := os.WriteFile(path, data, 0o755); err != nil {
		tb.Fatal(err)
	}
	// A child of this process that has not executed its program yet has the file
	// open for writing, and until then no process can execute the file.
	syscall.ForkLock.Lock()
	syscall.ForkLock.Unlock() //nolint:staticcheck // to have had it is what counts
	return path
}

// impostor replaces a verified program. It is not a plugin.
const impostor = "#!/bin/sh\necho an impostor ran >&2\nexit 3\n"

// TestD19_FileThatChanges checks that the verified bytes run, whatever happens to the
// file in between: go-plugin reads it once for the checksum and once to run it.
func TestD19_FileThatChanges(t *testing.T) {
	t.Parallel()
	script := "#!/bin/sh\nexec '" + echoPlugin().Path + "' \"$@\"\n"
	none := func(string) error { return nil }
	for _, tt := range []struct {
		name   string
		hash   crypto.Hash
		script bool
		swap   func(path string) error // when the program is verified and not started yet
	}{
		{name: "SHA-256", hash: crypto.SHA256, swap: none},
		{name: "SHA-384", hash: crypto.SHA384, swap: none},
		{name: "SHA-512", hash: crypto.SHA512, swap: none},
		{name: "a script", hash: crypto.SHA256, script: true, swap: none},
		{name: "a script overwritten", hash: crypto.SHA256, script: true, swap: overwrite},
		{name: "overwritten in place", hash: crypto.SHA256, swap: overwrite},
		{name: "another renamed to it", hash: crypto.SHA256, swap: func(path string) error {
			other := path + "-other"
			return errors.Join(os.WriteFile(other, []byte(impostor), 0o755), os.Rename(other, path))
		}},
		{name: "removed", hash: crypto.SHA256, swap: os.Remove},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := copyOf(t)
			if tt.script {
				path = writeProgram(t, []byte(script))
			}
			sum := sumOf(t, tt.hash, path)
			var dir, run string
			var swapped error
			trace := &host.Trace{ProcessStart: func(e host.ProcessStartEvent) {
				dir, run, swapped = e.PrivateDir, e.Path, tt.swap(path)
			}}
			p := launch(t, exec.Command(path), host.WithChecksum(tt.hash, sum), host.WithTrace(trace))
			if swapped != nil {
				t.Fatal(swapped)
			}
			if resp, err := echopb.NewEchoClient(p).Unary(testContext(t), payload("hello")); err != nil || string(resp.GetData()) != "hello" {
				t.Errorf("a call: %q, %v", resp.GetData(), err)
			}
			if runtime.GOOS == "linux" && !strings.HasPrefix(run, "/proc/self/fd/") {
				t.Errorf("what runs is %s, want a file in memory", run)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			assertGone(t, p.Info().PID, dir)
		})
	}
}

func overwrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(impostor)
	return errors.Join(err, f.Close())
}

// TestChecksumOfAnotherUser runs a verified program, and a script, as another
// user.
func TestChecksumOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can run a plugin as another user")
	}
	for name, path := range map[string]string{
		"program": copyOf(t),
		"script":  writeProgram(t, []byte("#!/bin/sh\nexec '"+echoPlugin().Path+"'\n")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(path)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			p := launch(t, cmd, host.WithChecksum(crypto.SHA256, sumOf(t, crypto.SHA256, path)))
			assertEcho(t, p)
		})
	}
}

// TestChecksumRefuses checks programs that the host refuses. No process starts.
func TestChecksumRefuses(t *testing.T) {
	t.Parallel()
	path := copyOf(t)
	good := sumOf(t, crypto.SHA256, path)
	wrong := bytes.Repeat([]byte{0xab}, crypto.SHA256.Size())
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o755); err != nil {
		t.Fatal(err)
	}
	unusable := copyOf(t)
	if err := os.Chmod(unusable, 0o644); err != nil {
		t.Fatal(err)
	}
	large := copyOf(t)
	if err := os.Truncate(large, 4<<30+1); err != nil { // a sparse file
		t.Fatal(err)
	}
	relative := exec.Command("./" + filepath.Base(path))
	relative.Dir = filepath.Dir(path)
	jailed := exec.Command(path)
	jailed.SysProcAttr = &syscall.SysProcAttr{Chroot: "/"}
	ended, cancel := context.WithCancel(t.Context()) // the test's own deadline would pass while other tests run
	for _, tt := range []struct {
		name string
		cmd  *exec.Cmd
		opts []host.Option
		ctx  context.Context //nolint:containedctx // the case's
		is   error
		says []string
	}{
		{
			name: "another program", cmd: exec.Command(path), opts: []host.Option{host.WithChecksum(crypto.SHA256, wrong)}, is: host.ErrChecksum,
			says: []string{path, "SHA-256", hex.EncodeToString(good), "want " + hex.EncodeToString(wrong)},
		},
		{name: "hash", cmd: exec.Command(path), opts: []host.Option{host.WithChecksum(crypto.MD5, wrong)}, says: []string{"MD5", "crypto.SHA256"}},
		{name: "length", cmd: exec.Command(path), opts: []host.Option{host.WithChecksum(crypto.SHA512, wrong)}, says: []string{"32 bytes", "SHA-512", "64"}},
		{
			name: "runner", cmd: exec.Command(path), opts: []host.Option{host.WithChecksum(crypto.SHA256, good), host.WithRunner(slowRunner{})},
			says: []string{"host.WithRunner", "the runner"},
		},
		{name: "relative to two directories", cmd: relative, opts: []host.Option{host.WithChecksum(crypto.SHA256, good)}, says: []string{"absolute path"}},
		{name: "only a name", cmd: &exec.Cmd{Path: "plugin"}, opts: []host.Option{host.WithChecksum(crypto.SHA256, good)}, says: []string{"absolute path"}},
		{name: "another root", cmd: jailed, opts: []host.Option{host.WithChecksum(crypto.SHA256, good)}, says: []string{"Chroot"}},
		{name: "named pipe", cmd: exec.Command(pipe), opts: []host.Option{host.WithChecksum(crypto.SHA256, good)}, says: []string{"not a regular file"}},
		{name: "too large", cmd: exec.Command(large), opts: []host.Option{host.WithChecksum(crypto.SHA256, good)}, says: []string{large, "4 GiB"}},
		{name: "not there", cmd: exec.Command(path + "-none"), opts: []host.Option{host.WithChecksum(crypto.SHA256, good)}, is: os.ErrNotExist, says: []string{"check the path"}},
		{name: "not executable", cmd: exec.Command(unusable), opts: []host.Option{host.WithChecksum(crypto.SHA256, good)}, is: os.ErrPermission, says: []string{"chmod +x " + unusable}},
		{
			name: "context ended", cmd: exec.Command(path), ctx: ended, is: context.Canceled, says: []string{"the context of the start ended"},
			opts: []host.Option{host.WithChecksum(crypto.SHA256, good), host.WithTransports(cancels{Transport: unix.New(), cancel: cancel})},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			if tt.ctx != nil {
				ctx = tt.ctx
			}
			e := startError(ctx, t, tt.cmd, append(tt.opts, host.WithTrace(&host.Trace{ProcessStart: func(host.ProcessStartEvent) { t.Error("a process is started") }}))...)
			if e.Phase != host.PhasePrepare || tt.is != nil && !errors.Is(e, tt.is) {
				t.Errorf("phase %s, error %v; want phase %s and %v", e.Phase, e.Err, host.PhasePrepare, tt.is)
			}
			assertSays(t, e.Error(), tt.says...)
		})
	}
}

// cancels is a transport that ends the context of the start that it is prepared
// for, just before the program is verified.
type cancels struct {
	transport.Transport
	cancel context.CancelFunc
}

func (c cancels) Prepare(context.Context, transport.PrepareConfig) (*transport.PreparedStart, error) {
	c.cancel()
	ours, theirs := net.Pipe()
	return &transport.PreparedStart{Conn: ours}, theirs.Close()
}

// TestChecksumStartError starts a verified program that cannot be executed: the
// error names the user's file.
func TestChecksumStartError(t *testing.T) {
	t.Parallel()
	path := writeProgram(t, []byte("no program\n"))
	e := startError(testContext(t), t, exec.Command(path), host.WithChecksum(crypto.SHA256, sumOf(t, crypto.SHA256, path)))
	if e.Phase != host.PhaseStart || strings.Contains(e.Error(), "/proc/self") {
		t.Errorf("phase %s: %v", e.Phase, e)
	}
	assertSays(t, e.Error(), path, "neither a program of this system nor a script")
}

// TestChecksumExitError checks that errors name the program and not its copy.
func TestChecksumExitError(t *testing.T) {
	t.Parallel()
	path := copyOf(t)
	p := launch(t, exec.Command(path, "argument"), host.WithChecksum(crypto.SHA256, sumOf(t, crypto.SHA256, path)))
	_, err := echopb.NewEchoClient(p).Fail(testContext(t), fail("exit"))
	waitFor(t, "Done", p.Done())
	if exit := asExit(t, err); exit.Command != path+" argument" {
		t.Errorf("command %q, want %q", exit.Command, path+" argument")
	}
}
