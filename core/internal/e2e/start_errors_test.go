//go:build unix

package e2e_test

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/protocol"
)

// startError launches a command that must not start, checks that nothing is
// left, and returns the error.
func startError(ctx context.Context, tb testing.TB, cmd *exec.Cmd, opts ...host.Option) *host.StartError {
	tb.Helper()
	var dir string
	var pid int
	trace := &host.Trace{
		ProcessStart:   func(e host.ProcessStartEvent) { dir = e.PrivateDir },
		ProcessStarted: func(e host.ProcessStartedEvent) { pid, _ = strconv.Atoi(e.ID) },
	}
	p, err := host.Launch(ctx, cmd, options(tb, append([]host.Option{host.WithTrace(trace)}, opts...)...)...)
	if err == nil {
		_ = p.Close()
		tb.Fatal("the plugin started")
	}
	var e *host.StartError
	if !errors.As(err, &e) {
		tb.Fatalf("error %T is not a *host.StartError: %v", err, err)
	}
	if e.Elapsed <= 0 || e.Elapsed > hang {
		tb.Errorf("Elapsed = %v", e.Elapsed)
	}
	assertGone(tb, pid, dir)
	return e
}

// shell returns a command that runs a script without a file.
func shell(script string) *exec.Cmd { return exec.Command("/bin/sh", "-c", script) }

// asleep keeps a script running.
const asleep = "\nexec sleep 1000"

// echoed sets $i to the value that an answer has to echo to count as
// Plugwire's.
const echoed = `i=${PLUGWIRE_OFFER#*instance=}; i=${i%%|*}
`

// longLine is 3 MiB of the letter x on one line.
const longLine = `head -c 3145728 /dev/zero | tr '\0' x; echo; `

func TestStartErrors(t *testing.T) {
	t.Parallel()
	short := host.WithStartTimeout(5 * time.Second) // long enough for a script to answer, even on a busy machine
	quiet := host.WithLogger(slog.New(slog.DiscardHandler))
	for _, tt := range []struct {
		name  string
		cmd   *exec.Cmd
		opts  []host.Option
		phase host.Phase
		code  handshake.Code // empty if there is no *handshake.Error
		exit  string         // how the process ended; empty if it had not
		says  []string
	}{
		{
			name: "no such program in the path", cmd: exec.Command("no-such-plugin"), phase: host.PhasePrepare,
			says: []string{`plugin no-such-plugin did not start (prepare)`, `"no-such-plugin": executable file not found in $PATH`, "give exec.Command the path of the plugin, such as ./plugin"},
		},
		{
			name: "no such file", cmd: exec.Command("/no/such/plugin", "-v"), phase: host.PhaseStart,
			says: []string{"plugin /no/such/plugin -v did not start (start", "no such file or directory", "check the path of the plugin, and that it was built"},
		},
		{
			name: "directory", cmd: exec.Command("/usr"), phase: host.PhaseStart,
			says: []string{"plugin /usr did not start (start", "it is a directory"},
		},
		{
			name: "no such working directory", cmd: &exec.Cmd{Path: "/bin/sh", Dir: "/no/such/dir"}, phase: host.PhaseStart,
			says: []string{"plugin /bin/sh did not start (start", "no such file or directory", "the working directory /no/such/dir does not exist"},
		},
		{
			name: "exits at once with an error", cmd: shell(`for n in 1 2 3; do echo "line $n" >&2; done; exit 3`), phase: host.PhaseHandshake, exit: "exit code 3",
			says: []string{"did not start (handshake, after", "the process ended with exit code 3 before it was ready", "its last lines on stderr:\n    line 1\n    line 2\n    line 3"},
		},
		{
			name: "go-plugin's word for another cookie", cmd: shell("echo This binary is a plugin. These are not meant to be executed directly. >&2; exit 1"),
			phase: host.PhaseHandshake, exit: "exit code 1", code: handshake.CodeCookie, says: []string{"it is on go-plugin and expects another cookie: give host.WithCookie"},
		},
		{
			name: "go-plugin's word for an empty cookie", cmd: shell("echo 'Misconfigured ServeConfig given to serve this plugin: no magic cookie' >&2; exit 1"),
			phase: host.PhaseHandshake, exit: "exit code 1", code: handshake.CodeCookie, says: []string{"takes the value of its cookie from its environment: give host.WithCookie its MagicCookieKey and a value"},
		},
		{
			name: "exits at once, satisfied", cmd: shell("exit 0"), phase: host.PhaseHandshake, exit: "exit code 0",
			says: []string{"the process ended with exit code 0 before it was ready", "is it a plugin?"},
		},
		{
			name: "killed at once", cmd: shell("kill -9 $$"), phase: host.PhaseHandshake, exit: "signal: killed",
			says: []string{"the process ended with signal: killed before it was ready"},
		},
		{
			name: "only garbage, then silent", cmd: shell("echo hello; echo '1|2|three'; echo 'a|b|c|d|e'" + asleep), opts: []host.Option{short}, phase: host.PhaseHandshake,
			says: []string{"it was not ready within 5s (host.WithStartTimeout)", "is it a plugin?", "its last lines on stdout:\n    hello\n    1|2|three\n    a|b|c|d|e"},
		},
		{
			name: "only garbage, then exits", cmd: shell("echo hello; exit 1"), phase: host.PhaseHandshake, exit: "exit code 1",
			says: []string{"the process ended with exit code 1 before it was ready", "its last lines on stdout:\n    hello"},
		},
		{
			name: "garbage without end", cmd: shell("yes"), opts: []host.Option{short, quiet}, phase: host.PhaseHandshake,
			says: []string{"it was not ready within 5s", "its last lines on stdout:\n    y\n    y"},
		},
		{
			name: "half a line, then silent", cmd: shell("printf '1|1|unix|/tm'" + asleep), opts: []host.Option{short}, phase: host.PhaseHandshake,
			says: []string{"it was not ready within 5s", "its last lines on stdout:\n    1|1|unix|/tm"},
		},
		{
			name: "half a line, then closed", cmd: shell("printf '1|1|unix'; exec >&-" + asleep), phase: host.PhaseHandshake,
			says: []string{"its standard output ended in the middle of a line", `"1|1|unix"`},
		},
		{
			name: "half a line, then exits", cmd: shell("printf '1|1|unix'; exit 4"), phase: host.PhaseHandshake, exit: "exit code 4",
			says: []string{"the process ended with exit code 4 before it was ready", "its last lines on stdout:\n    1|1|unix"},
		},
		{
			name: "standard output closed", cmd: shell("exec >&-" + asleep), phase: host.PhaseHandshake,
			says: []string{"it closed its standard output without an answer"},
		},
		{
			name: "silent", cmd: shell("exec sleep 1000"), opts: []host.Option{short}, phase: host.PhaseHandshake,
			says: []string{"it was not ready within 5s (host.WithStartTimeout)", "is it a plugin? A plugin prints a line such as 1|1|unix|/path|grpc as soon as it is ready"},
		},
		{
			name: "an answer and nobody there", cmd: shell("echo '1|1|unix|/no/such/socket|grpc'" + asleep), phase: host.PhaseConnect,
			says: []string{"did not start (connect, after", "unix/1: dial", "/no/such/socket", "no such file or directory"},
		},
		{
			name: "net/rpc", cmd: shell("echo '1|1|unix|/tmp/x|netrpc'" + asleep), phase: host.PhaseHandshake, code: handshake.CodeWire,
			says: []string{`the plugin speaks "netrpc" (host: grpc)`, "rebuild the plugin so that it serves gRPC"},
		},
		{
			name: "another version of the answer", cmd: shell("echo '2|1|unix|/tmp/x|grpc'" + asleep), phase: host.PhaseHandshake, code: handshake.CodeCore,
			says: []string{"the plugin's answer has version 2, and this host knows only version 1"},
		},
		{
			name: "foreign version", cmd: shell("echo '1|7|unix|/tmp/x|grpc'" + asleep), phase: host.PhaseHandshake, code: handshake.CodeVersion,
			says: []string{"no protocol version in common (host: version 1; plugin: version 7)"},
		},
		{
			name: "a transport that was not offered", cmd: shell("echo '1|1|tcp|127.0.0.1:1|grpc'" + asleep), phase: host.PhaseHandshake, code: handshake.CodeTransport,
			says: []string{"the plugin answered with transport tcp/1, which was not offered (host: unix/1)", "host.WithTransports"},
		},
		{
			name: "no transport at all", cmd: shell("echo '1|1|Carrier Pigeon|home|grpc'" + asleep), phase: host.PhaseHandshake, code: handshake.CodeAnswer,
			says: []string{`network "Carrier Pigeon", which is not a transport`},
		},
		{
			name: "a foreign answer weaker than offered", cmd: shell("echo '1|1|unix|/tmp/x|grpc'" + asleep), opts: []host.Option{host.WithMutualTLS()}, phase: host.PhaseHandshake, code: handshake.CodeSecurity,
			says: []string{"the plugin answered on unix without a certificate, weaker than what was offered (host: mtls)", "PLUGIN_CLIENT_CERT"},
		},
		{
			name: "an answer weaker than offered", cmd: shell(echoed + `echo "1|1|unix|/tmp/x|grpc|||instance=$i|transport=unix/1|security=peercred"` + asleep),
			opts: []host.Option{host.WithMutualTLS()}, phase: host.PhaseHandshake, code: handshake.CodeSecurity,
			says: []string{`the plugin answered with security "peercred", which was not offered (host: mtls)`},
		},
		{
			name: "no security", cmd: shell(echoed + `echo "1|1|unix|/tmp/x|grpc|||instance=$i|security=none"` + asleep),
			opts: []host.Option{host.WithPlaintext()}, phase: host.PhaseHandshake, code: handshake.CodeSecurity,
			says: []string{`the plugin answered with security "none", which was not offered`},
		},
		{
			name: "mutual TLS without a certificate", cmd: shell(echoed + `echo "1|1|unix|/tmp/x|grpc|||instance=$i|security=mtls"` + asleep), phase: host.PhaseHandshake, code: handshake.CodeSecurity,
			says: []string{"mutual TLS but sent no certificate"},
		},
		{
			name: "a certificate that does not parse", cmd: shell("echo '1|1|unix|/tmp/x|grpc|" + strings.Repeat("QUJD", 20) + "'" + asleep), phase: host.PhaseHandshake, code: handshake.CodeSecurity,
			says: []string{"the plugin answered with a certificate that does not parse"},
		},
		{
			name: "a certificate that is not base64", cmd: shell("echo '1|1|unix|/tmp/x|grpc|" + strings.Repeat("?!", 40) + "'" + asleep), phase: host.PhaseHandshake, code: handshake.CodeSecurity,
			says: []string{"the plugin answered with a certificate that does not parse"},
		},
		{
			name: "the answer to another offer", cmd: shell("echo '1|1|unix|/tmp/x|grpc|||instance=guessed|security=peercred'" + asleep), opts: []host.Option{short}, phase: host.PhaseHandshake,
			says: []string{"it was not ready within 5s", "its last lines on stdout:\n    1|1|unix|/tmp/x|grpc|||instance=guessed"},
		},
		{
			name: "an extended answer that demands too much", cmd: shell(echoed + `echo "1|1|unix|/tmp/x|grpc|||instance=$i|!future=yes"` + asleep), phase: host.PhaseHandshake, code: handshake.CodeAnswer,
			says: []string{"key future must be understood", "a newer release is needed"},
		},
		{
			name: "a refusal of bad taste", cmd: shell(echoed + `echo "1|1|||grpc|||instance=$i|error=internal:%1B[31mred%0Aalert"` + asleep), phase: host.PhaseHandshake, code: handshake.CodeInternal,
			says: []string{"the plugin refused: \ufffd[31mred alert"},
		},
		{
			name: "wrong cookie", cmd: command("misbehave", "-cookie", "MY_APP=please"), phase: host.PhaseHandshake, code: handshake.CodeCookie,
			says: []string{"the plugin refused", "meant to be started by its host application", "MY_APP=please"},
		},
		{
			name: "another value of the cookie", cmd: command("misbehave", "-cookie", "PLUGIN_MAGIC_COOKIE=other"), phase: host.PhaseHandshake, code: handshake.CodeCookie,
			says: []string{"the plugin refused", "another value of PLUGIN_MAGIC_COOKIE than it expects", "must be given the same cookie", "PLUGIN_MAGIC_COOKIE=other"},
		},
		{
			name: "another protocol", cmd: command("misbehave", "-protocol", "example.Other"), phase: host.PhaseHandshake, code: handshake.CodeProtocol,
			says: []string{"the plugin refused", "speak different protocols (host: plugwire.e2e; plugin: example.Other)"},
		},
		{
			name: "no common version", cmd: command("misbehave", "-protocol", "plugwire.e2e"),
			opts:  []host.Option{host.WithProtocols(protocol.New("plugwire.e2e", 3, &echopb.Echo_ServiceDesc), protocol.New("plugwire.e2e", 4, &echopb.Echo_ServiceDesc))},
			phase: host.PhaseHandshake, code: handshake.CodeVersion,
			says: []string{"the plugin refused", "no version of protocol plugwire.e2e in common (host: versions 4, 3; plugin: versions 2, 1)"},
		},
		{
			name: "no common transport", cmd: echoPlugin(), opts: []host.Option{host.WithTransports(pigeon{})}, phase: host.PhaseHandshake, code: handshake.CodeTransport,
			says: []string{"the plugin refused", "no transport in common (host: pigeon/2, pigeon/1; plugin: unix/1)"},
		},
		{
			name: "a flood before the end", cmd: shell(longLine + "(" + longLine + ") >&2; exit 5"), opts: []host.Option{quiet}, phase: host.PhaseHandshake, exit: "exit code 5",
			says: []string{"the process ended with exit code 5 before it was ready"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := startError(testContext(t), t, tt.cmd, tt.opts...)
			assertSays(t, e.Error(), tt.says...)
			if e.Phase != tt.phase {
				t.Errorf("Phase = %q, want %q", e.Phase, tt.phase)
			}
			if exit := exitText(e); exit != tt.exit && tt.code == "" {
				t.Errorf("Exit = %q, want %q", exit, tt.exit)
			}
			var mismatch *handshake.Error
			if errors.As(e, &mismatch) != (tt.code != "") || mismatch != nil && mismatch.Code != tt.code {
				t.Errorf("handshake error %#v, want code %q", mismatch, tt.code)
			}
		})
	}
}

func exitText(e *host.StartError) string {
	if e.Exit == nil {
		return ""
	}
	return e.Exit.String()
}

// TestStartErrorsOfFiles is not parallel to the tests that start processes: a
// program that was just written is busy until no unexecuted child of this
// process has it open.
func TestStartErrorsOfFiles(t *testing.T) {
	self, err := os.ReadFile(filepath.Join(binDir, "echo-plugin"))
	if err != nil {
		t.Fatal(err)
	}
	const machine = 18 // offset of e_machine
	for _, tt := range []struct {
		name    string
		linux   bool
		content []byte
		mode    os.FileMode
		says    []string
	}{
		{name: "not executable", content: []byte("#!/bin/sh\n"), mode: 0o644, says: []string{"permission denied", "the file is not executable (mode -rw-r--r--): chmod +x "}},
		{name: "empty", mode: 0o755, says: []string{"the file is empty"}},
		{name: "one byte", content: []byte("#"), mode: 0o755, says: []string{"neither a program of this system nor a script that begins with #!"}},
		{name: "text", content: []byte("hello\n"), mode: 0o755, says: []string{"exec format error", "neither a program of this system nor a script that begins with #!"}},
		{name: "script without its interpreter", content: []byte("#!/no/such/python3 -u\nprint()\n"), mode: 0o755, says: []string{"no such file or directory", "the file is there, but its interpreter /no/such/python3 is not", "the script's first line"}},
		{name: "script with the line ends of Windows", content: []byte("#!/bin/sh\r\nexit 1\r\n"), mode: 0o755, says: []string{"no such file or directory", "its first line ends in a carriage return", "Unix line ends"}},
		{name: "Windows program", content: []byte("MZ\x90\x00"), mode: 0o755, says: []string{"it is a Windows program, and this system is " + runtime.GOOS}},
		{name: "other system", linux: true, content: []byte("\xcf\xfa\xed\xfe"), mode: 0o755, says: []string{"it is a macOS binary, and this system is linux"}},
		{
			name: "other machine", linux: true, content: patched(self, machine, 22), mode: 0o755,
			says: []string{"exec format error", "it is an ELF binary for s390x, and this system is linux/" + runtime.GOARCH, "build it with GOARCH=" + runtime.GOARCH},
		},
		{name: "unknown machine", linux: true, content: patched(self, machine, 4711), mode: 0o755, says: []string{"it is an ELF binary for machine 4711"}},
		{name: "binary without its loader", linux: true, content: withLoader("/no/such/ld.so"), mode: 0o755, says: []string{"no such file or directory", "the file is there, but the loader that it was linked for is not", "CGO_ENABLED=0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.linux && runtime.GOOS != "linux" {
				t.Skip("ELF is Linux's")
			}
			path := filepath.Join(t.TempDir(), "plugin")
			if err := os.WriteFile(path, tt.content, tt.mode); err != nil {
				t.Fatal(err)
			}
			e := startError(testContext(t), t, exec.Command(path))
			assertSays(t, e.Error(), append(tt.says, "plugin "+path+" did not start (start")...)
			if e.Phase != host.PhaseStart || e.Hint == "" {
				t.Errorf("Phase = %q, Hint = %q", e.Phase, e.Hint)
			}
		})
	}
}

// patched returns the first page of an ELF binary with another 16-bit number at
// offset.
func patched(binaryFile []byte, offset int, value uint16) []byte {
	b := append([]byte(nil), binaryFile[:4096]...)
	if string(b[:4]) == "\x7fELF" {
		binary.LittleEndian.PutUint16(b[offset:], value)
	}
	return b
}

// withLoader returns the smallest ELF binary for this machine that asks for the
// given loader: a header and one PT_INTERP (gABI, chapters 4 and 5).
func withLoader(loader string) []byte {
	machine := map[string]uint16{"amd64": 62, "arm64": 183}[runtime.GOARCH]
	const headerLen, entryLen = 64, 56
	le := binary.LittleEndian
	b := []byte("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9))
	b = le.AppendUint16(b, 3) // e_type: ET_DYN
	b = le.AppendUint16(b, machine)
	b = le.AppendUint32(b, 1)         // e_version
	b = le.AppendUint64(b, 0)         // e_entry
	b = le.AppendUint64(b, headerLen) // e_phoff
	b = le.AppendUint64(b, 0)         // e_shoff
	b = le.AppendUint32(b, 0)         // e_flags
	for _, v := range []uint16{headerLen, entryLen, 1, 0, 0, 0} {
		b = le.AppendUint16(b, v) // e_ehsize, e_phentsize, e_phnum, no sections
	}
	n := uint64(len(loader) + 1)
	b = le.AppendUint32(b, 3) // p_type: PT_INTERP
	b = le.AppendUint32(b, 4) // p_flags: readable
	for _, v := range []uint64{headerLen + entryLen, 0, 0, n, n, 1} {
		b = le.AppendUint64(b, v) // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
	}
	return append(b, loader+"\x00"...)
}

func TestStartIsBoundedByItsContext(t *testing.T) {
	t.Parallel()
	t.Run("cancelled while waiting", func(t *testing.T) {
		t.Parallel()
		cause := errors.New("the user has changed their mind")
		ctx, cancel := context.WithCancelCause(testContext(t))
		trace := &host.Trace{ProcessStarted: func(host.ProcessStartedEvent) { cancel(cause) }}
		e := startError(ctx, t, shell("exec sleep 1000"), host.WithTrace(trace))
		if !errors.Is(e, cause) || e.Phase != host.PhaseHandshake {
			t.Errorf("phase %s: %v, want %v in phase handshake", e.Phase, e, cause)
		}
	})
	t.Run("cancelled before", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(testContext(t))
		cancel()
		e := startError(ctx, t, echoPlugin())
		if !errors.Is(e, context.Canceled) || e.Phase != host.PhasePrepare {
			t.Errorf("phase %s: %v, want %v in phase prepare", e.Phase, e, context.Canceled)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(testContext(t), 100*time.Millisecond)
		defer cancel()
		e := startError(ctx, t, shell("exec sleep 1000"))
		if !errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("%v, want %v", e, context.DeadlineExceeded)
		}
	})
	t.Run("start timeout", func(t *testing.T) {
		t.Parallel()
		e := startError(testContext(t), t, shell("exec sleep 1000"), host.WithStartTimeout(100*time.Millisecond))
		if !errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("%v does not satisfy errors.Is with %v", e, context.DeadlineExceeded)
		}
	})
	t.Run("a socket that never answers", func(t *testing.T) {
		t.Parallel()
		// The kernel completes the dial, and no process accepts.
		path := silentSocket(t)
		e := startError(testContext(t), t, shell("echo '1|1|unix|"+path+"|grpc'"+asleep), host.WithStartTimeout(5*time.Second))
		assertSays(t, e.Error(), "did not start (connect, after", "it was not ready within 5s (host.WithStartTimeout)")
		if e.Phase != host.PhaseConnect {
			t.Errorf("Phase = %q, want %q", e.Phase, host.PhaseConnect)
		}
	})
}

func TestContextOfTheStartDoesNotBoundTheLife(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	p, err := host.Launch(ctx, echoPlugin(), options(t)...)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := echopb.NewEchoClient(p).Unary(testContext(t), &echopb.Payload{}); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestPluginRunByHand(t *testing.T) {
	t.Parallel()
	cmd := echoPlugin()
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("run by hand: %v, want exit code 1", err)
	}
	if stdout.Len() > 0 {
		t.Errorf("stdout: %q", stdout.String())
	}
	want := cmd.Path + ": this program is a plugin: it is meant to be started by its host application, not by hand.\n" +
		"Run the host application instead; the host and the plugin must be given the same cookie (this plugin expects PLUGIN_MAGIC_COOKIE=plugwire).\n"
	if stderr.String() != want {
		t.Errorf("stderr: %q\nwant:   %q", stderr.String(), want)
	}
}

// TestNoiseBeforeTheAnswer prints lines and an unfinished line before the
// answer: they are logged, and the plugin starts.
func TestNoiseBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	logger, book := newJournal(t, 0)
	var stdout lockedBuffer
	p := launch(t, command("misbehave", "-mutter"), host.WithLogger(logger), host.WithStdout(&stdout))
	for _, line := range []string{"welcome", "1|2 is not an answer", "loading..."} {
		if r := book.await(t, line); r.Attrs["stream"] != "stdout" {
			t.Errorf("%q is of stream %v", line, r.Attrs["stream"])
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if got, want := stdout.String(), "welcome\n1|2 is not an answer\nloading...\n"; got != want {
		t.Errorf("stdout %q, want %q", got, want)
	}
}
