//go:build unix

package foreign_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// service is the service of all plugins here, in two versions that are the
// same.
const service = "interop.v1.Interop"

func version(n int) *protocol.Protocol {
	return protocol.New("interop", n, &grpc.ServiceDesc{ServiceName: service})
}

// options returns the options that every host here needs, followed by opts.
func options(tb testing.TB, opts ...host.Option) []host.Option {
	tb.Helper()
	logger := slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	return append([]host.Option{
		host.WithProtocols(version(1), version(2)),
		host.WithTransports(unix.New()),
		host.WithLogger(logger),
	}, opts...)
}

// watchedStart has what a host's trace reports about a plugin.
type watchedStart struct {
	mu    sync.Mutex // guards the fields below
	dir   string
	steps []host.Step
	exit  *host.ExitStatus
}

func (w *watchedStart) trace() host.Option {
	locked := func(f func()) {
		w.mu.Lock()
		defer w.mu.Unlock()
		f()
	}
	return host.WithTrace(&host.Trace{
		ProcessStart: func(e host.ProcessStartEvent) {
			locked(func() { w.dir = e.PrivateDir })
		},
		Stopping:      func(e host.StoppingEvent) { locked(func() { w.steps = append(w.steps, e.Step) }) },
		ProcessExited: func(e host.ProcessExitedEvent) { locked(func() { w.exit = &e.Status }) },
	})
}

// TestUnderOurHost does everything that a host does with a plugin, over each
// transport, with and without TLS.
func TestUnderOurHost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		transport transport.Transport
		without   []string
		opts      []host.Option
		security  string
	}{
		{name: "unix, mutual TLS", transport: unix.New(), security: handshake.SecurityMTLS, opts: []host.Option{host.WithMutualTLS()}},
		{name: "unix, plain", transport: unix.New(), without: []string{"PLUGIN_CLIENT_CERT"}, security: handshake.SecurityPeerCred},
		{name: "tcp, mutual TLS", transport: tcp.New(), security: handshake.SecurityMTLS},
		{name: "tcp, plain", transport: tcp.New(), without: []string{"PLUGIN_CLIENT_CERT"}, security: handshake.SecurityNone, opts: []host.Option{host.WithPlaintext()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, s := range stacks {
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					summary.note(t, s.name, tt.name)
					s.require(t)
					var seen watchedStart
					var stdout, stderr syncBuffer
					opts := options(t, append(tt.opts, host.WithTransports(tt.transport), seen.trace(), host.WithStdout(&stdout), host.WithStderr(&stderr))...)
					p, err := host.Launch(testContext(t), s.plugin(tt.without...), opts...)
					if err != nil {
						t.Fatal(err)
					}
					defer p.Close()
					want := transport.ID{Name: tt.transport.Name(), Version: 1}
					if info := p.Info(); info.Security != tt.security || info.Transport != want || info.Version != 2 {
						t.Errorf("%+v, want version 2 over %s with %s", info, want, tt.security)
					}
					checkCalls(t, p)
					checkPrint(t, p, &stdout, &stderr)
					checkClose(t, p, &seen)
				})
			}
		})
	}
}

// checkCalls makes each call of the service.
func checkCalls(t *testing.T, p *host.Plugin) {
	t.Helper()
	ctx := testContext(t)
	if err := p.Ping(ctx); err != nil {
		t.Errorf("Ping: %v", err)
	}
	const size = 8 << 20 // gRPC's default limit is 4 MiB
	sent, got := make([]byte, size), new(wrapperspb.BytesValue)
	rand.Read(sent)
	if err := p.Invoke(ctx, "/"+service+"/Echo", wrapperspb.Bytes(sent), got); err != nil || !bytes.Equal(got.GetValue(), sent) {
		t.Errorf("Echo: %d bytes, %v; want the same %d", len(got.GetValue()), err, size)
	}
	const count = 10000
	numbers, err := countTo(ctx, p, count)
	if !errors.Is(err, io.EOF) || len(numbers) != count {
		t.Errorf("Count: %d numbers, %v; want %d", len(numbers), err, count)
	}
	for i, number := range numbers {
		if number != uint32(i) {
			t.Fatalf("Count: number %d is %d", i, number)
		}
	}
	chosen := new(wrapperspb.UInt32Value)
	if err := p.Invoke(ctx, "/"+service+"/Version", &emptypb.Empty{}, chosen); err != nil || chosen.GetValue() != 2 {
		t.Errorf("Version: %v, %v; want 2", chosen, err)
	}
	if err := p.Invoke(ctx, "/"+service+"/Missing", &emptypb.Empty{}, &emptypb.Empty{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("a method that is not there: %v", err)
	}
	// A stream ends when the host leaves it in the middle.
	left, cancel := context.WithCancel(ctx)
	stream, err := openCount(left, p, 1<<31)
	if err == nil {
		err = stream.RecvMsg(new(wrapperspb.UInt32Value))
	}
	if err != nil {
		t.Errorf("Count: %v", err)
	}
	cancel()
}

func openCount(ctx context.Context, p *host.Plugin, n uint32) (grpc.ClientStream, error) {
	stream, err := p.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/"+service+"/Count")
	if err != nil {
		return nil, err
	}
	return stream, errors.Join(stream.SendMsg(wrapperspb.UInt32(n)), stream.CloseSend())
}

func countTo(ctx context.Context, p *host.Plugin, n uint32) (numbers []uint32, err error) {
	stream, err := openCount(ctx, p, n)
	if err != nil {
		return nil, err
	}
	for {
		var number wrapperspb.UInt32Value
		if err := stream.RecvMsg(&number); err != nil {
			return numbers, err
		}
		numbers = append(numbers, number.GetValue())
	}
}

// checkPrint lets the plugin print on both streams. There must be no other
// output before and after.
func checkPrint(t *testing.T, p *host.Plugin, streams ...*syncBuffer) {
	t.Helper()
	const text = "a word from the plugin\n"
	if err := p.Invoke(testContext(t), "/"+service+"/Print", wrapperspb.String(text), &emptypb.Empty{}); err != nil {
		t.Errorf("Print: %v", err)
	}
	for _, stream := range streams {
		eventually(t, hang, func() string {
			if got := stream.String(); got != text {
				return "printed: " + got
			}
			return ""
		})
	}
}

// checkClose asks the plugin to end, and checks that it does and leaves nothing
// behind.
func checkClose(t *testing.T, p *host.Plugin, seen *watchedStart) {
	t.Helper()
	// How long an interpreter takes to end on a busy machine is not the subject here.
	if err := p.Shutdown(testContext(t)); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if !slices.Equal(seen.steps, []host.Step{host.StepAsk}) || seen.exit == nil || *seen.exit != (host.ExitStatus{}) {
		t.Errorf("steps %q and %v, want it to be asked and to exit with code 0", seen.steps, seen.exit)
	}
	if pid := p.Info().PID; !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		t.Errorf("process %d is left", pid)
	}
	if _, err := os.Lstat(seen.dir); !os.IsNotExist(err) {
		t.Errorf("directory %s is left: %v", seen.dir, err)
	}
}

// TestPlaintextOverTCP starts a plugin that listens on TCP without TLS. A host
// accepts it only with the option for that.
func TestPlaintextOverTCP(t *testing.T) {
	t.Parallel()
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.require(t)
			e := startError(t, s.plugin("PLUGIN_CLIENT_CERT"), host.WithTransports(tcp.New()))
			var refused *handshake.Error
			if !errors.As(e, &refused) || refused.Code != handshake.CodeSecurity || !strings.Contains(e.Error(), "host.WithPlaintext") {
				t.Errorf("%v, want code %s and how to allow it", e, handshake.CodeSecurity)
			}
		})
	}
}

// TestCookie starts plugins from hosts with another cookie.
func TestCookie(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, cookie, value string }{
		{"another cookie", "BASIC_PLUGIN", "hello"},
		{"another value", handshake.DefaultCookieName, "hello"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, s := range stacks {
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					s.require(t)
					e := startError(t, s.plugin(), host.WithCookie(tt.cookie, tt.value))
					if e.Phase != host.PhaseHandshake || e.Exit == nil || *e.Exit != (host.ExitStatus{Code: 1}) {
						t.Errorf("phase %s, %v; want %s and exit code 1", e.Phase, e.Exit, host.PhaseHandshake)
					}
					if !strings.HasPrefix(e.Stderr, "This is a plugin") || e.Stdout != "" {
						t.Errorf("it printed %q, and on stderr %q", e.Stdout, e.Stderr)
					}
				})
			}
		})
	}
}

// TestBadCertificate starts plugins from a host whose certificate is not valid.
func TestBadCertificate(t *testing.T) {
	t.Parallel()
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.require(t)
			plugin := s.plugin()
			plugin.Args = slices.Insert(plugin.Args, 1, "PLUGIN_CLIENT_CERT=none")
			e := startError(t, plugin)
			if e.Phase != host.PhaseHandshake || e.Exit == nil || *e.Exit != (host.ExitStatus{Code: 1}) || e.Stderr == "" {
				t.Errorf("phase %s, %v, stderr %q; want %s, exit code 1 and the reason", e.Phase, e.Exit, e.Stderr, host.PhaseHandshake)
			}
		})
	}
}

// startError launches a command that must not start, and returns the error.
func startError(t *testing.T, cmd *exec.Cmd, opts ...host.Option) *host.StartError {
	t.Helper()
	p, err := host.Launch(testContext(t), cmd, options(t, opts...)...)
	if err == nil {
		_ = p.Close()
		t.Fatal("the plugin started")
	}
	e, ok := errors.AsType[*host.StartError](err)
	if !ok {
		t.Fatalf("%T is not a *host.StartError: %v", err, err)
	}
	return e
}

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
