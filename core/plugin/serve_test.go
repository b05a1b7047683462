package plugin_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loop is a transport over the loopback interface.
type loop struct {
	name   string
	err    error // the error of Listen
	closed chan struct{}
}

func (l loop) Name() string  { return l.name }
func (loop) Versions() []int { return []int{1} }

func (l loop) Listen(ctx context.Context, _ transport.ListenConfig) (net.Listener, error) {
	if l.err != nil {
		return nil, l.err
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil || l.closed == nil {
		return ln, err
	}
	return &closing{Listener: ln, closed: l.closed}, nil
}

func (loop) Dial(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", cfg.Address)
}

// closing is a listener that reports when it is closed.
type closing struct {
	net.Listener
	closed chan struct{}
}

func (c *closing) Close() error {
	select {
	case <-c.closed:
	default:
		close(c.closed)
	}
	return c.Listener.Close()
}

var testProtocol = protocol.New("test", 2, &testpb.TestService_ServiceDesc)

func binding() protocol.Binding {
	return protocol.Bind(testProtocol, testpb.UnimplementedTestServiceServer{})
}

// environment finds variables in a map, and the cookie.
func environment(variables map[string]string) plugin.Option {
	return plugin.WithLookupEnv(func(name string) (string, bool) {
		if name == handshake.DefaultCookieName {
			return handshake.DefaultCookieValue, true
		}
		value, ok := variables[name]
		return value, ok
	})
}

// answers receives the answer of a plugin.
type answers chan string

func (a answers) Write(p []byte) (int, error) {
	a <- string(p)
	return len(p), nil
}

var quiet = plugin.WithLogger(slog.New(slog.DiscardHandler))

// serve serves until the answer has come. It returns the answer, and the result of Serve
// after the end of its context.
func serve(t *testing.T, b protocol.Binding, opts ...plugin.Option) (string, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	written := make(answers, 1)
	done := make(chan error, 1)
	go func() {
		done <- plugin.Serve(ctx, b, append([]plugin.Option{quiet, plugin.WithAnswerWriter(written)}, opts...)...)
	}()
	select {
	case line := <-written:
		cancel()
		return line, <-done
	case err := <-done:
		select {
		case line := <-written: // the answer and the end came together
			return line, err
		default:
			return "", err
		}
	case <-time.After(time.Minute):
		t.Fatal("neither an answer nor an end")
		return "", nil
	}
}

// A person starts the plugin, without a host.
func TestServeByHand(t *testing.T) {
	t.Parallel()
	line, err := serve(t, binding(), plugin.WithTransports(loop{name: "loop"}), plugin.WithLookupEnv(func(string) (string, bool) { return "", false }))
	if e, ok := errors.AsType[*handshake.Error](err); !ok || e.Code != handshake.CodeCookie || line != "" {
		t.Errorf("answer %q, error %v", line, err)
	}
}

// A host on go-plugin gets exactly the fields that it expects.
func TestAnswerToForeignHost(t *testing.T) {
	t.Parallel()
	identity, err := secure.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name      string
		variables map[string]string
		fields    int
		version   string
		cert      bool
		multiplex string
	}{
		{name: "plain", variables: map[string]string{"PLUGIN_PROTOCOL_VERSIONS": "1,2"}, fields: 6, version: "2"},
		{name: "no common version", variables: map[string]string{"PLUGIN_PROTOCOL_VERSIONS": "7"}, fields: 6, version: "2"},
		{name: "AutoMTLS", variables: map[string]string{"PLUGIN_CLIENT_CERT": identity.PEM()}, fields: 6, version: "2", cert: true},
		{name: "multiplexing", variables: map[string]string{"PLUGIN_MULTIPLEX_GRPC": "true"}, fields: 7, version: "2", multiplex: "true"},
		{name: "no multiplexing", variables: map[string]string{"PLUGIN_MULTIPLEX_GRPC": "0"}, fields: 7, version: "2", multiplex: "false"},
		{name: "multiplexing of no meaning", variables: map[string]string{"PLUGIN_MULTIPLEX_GRPC": "perhaps"}, fields: 7, version: "2", multiplex: "false"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.variables["PLUGIN_TRANSPORTS"] = "loop"
			line, err := serve(t, binding(), environment(tt.variables), plugin.WithTransports(loop{name: "loop"}))
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
			fields := strings.Split(strings.TrimSuffix(line, "\n"), "|")
			if len(fields) != tt.fields || fields[0] != "1" || fields[1] != tt.version || fields[2] != "loop" || fields[4] != "grpc" || (fields[5] != "") != tt.cert {
				t.Errorf("answer %q", line)
			}
			if tt.fields == 7 && fields[6] != tt.multiplex {
				t.Errorf("multiplexing %q, want %s", fields[6], tt.multiplex)
			}
		})
	}
}

// offered is what a Plugwire host sends.
func offered(change ...func(*negotiation.Offer)) plugin.Option {
	o := &negotiation.Offer{
		Cookie: negotiation.DefaultCookie(), Versions: []int{2}, Transports: []transport.ID{{Name: "loop", Version: 1}},
		Plugwire: true, Protocol: "test", Sessions: []string{"direct"}, Wires: []string{"h2"}, Security: []string{"mtls"}, Instance: "SESAME",
	}
	for _, f := range change {
		f(o)
	}
	variables := map[string]string{}
	for _, variable := range o.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		variables[name] = value
	}
	return environment(variables)
}

// The answer tells a Plugwire host why the plugin refuses, and Serve returns the same
// reason.
func TestRefusals(t *testing.T) {
	t.Parallel()
	tcp := plugin.WithTransports(loop{name: "loop"})
	unserved := protocol.New("test", 2, &testpb.TestService_ServiceDesc, &testpb.UnimplementedService_ServiceDesc)
	for _, tt := range []struct {
		name    string
		binding protocol.Binding
		opts    []plugin.Option
		code    handshake.Code
		says    []string
	}{
		{name: "nothing bound", opts: []plugin.Option{offered(), tcp}, code: handshake.CodeInternal, says: []string{"nothing is bound"}},
		{
			name: "a service not bound", opts: []plugin.Option{offered(), tcp}, code: handshake.CodeInternal, says: []string{"service grpc.testing.UnimplementedService is not bound"},
			binding: protocol.Bind(unserved, testpb.UnimplementedTestServiceServer{}),
		},
		{
			name: "a service of the framework's own", opts: []plugin.Option{offered(), tcp}, code: handshake.CodeInternal, says: []string{"grpc.health.v1.Health", "the framework"},
			binding: protocol.Bind(protocol.New("test", 2, &healthpb.Health_ServiceDesc), healthpb.UnimplementedHealthServer{}),
		},
		{name: "no transport", binding: binding(), opts: []plugin.Option{offered()}, code: handshake.CodeInternal, says: []string{"no transport given", "plugin.WithTransports(unix.New())"}},
		{name: "a bad option", binding: binding(), opts: []plugin.Option{offered(), tcp, plugin.WithMaxMessageSize(0)}, code: handshake.CodeInternal, says: []string{"plugin.WithMaxMessageSize(0)"}},
		{
			name: "another protocol", binding: binding(), opts: []plugin.Option{offered(func(o *negotiation.Offer) { o.Protocol = "other" }), tcp},
			code: handshake.CodeProtocol, says: []string{"different protocols"},
		},
		{
			name: "no common version", binding: binding(), opts: []plugin.Option{offered(func(o *negotiation.Offer) { o.Versions = []int{1, 3} }), tcp},
			code: handshake.CodeVersion, says: []string{"no version of protocol test in common", "plugin: version 2"},
		},
		{
			name: "no common transport", binding: binding(), opts: []plugin.Option{offered(), plugin.WithTransports(loop{name: "other"})},
			code: handshake.CodeTransport, says: []string{"no transport in common", "plugin: other/1"},
		},
		{
			name: "cannot listen", binding: binding(), opts: []plugin.Option{offered(), plugin.WithTransports(loop{name: "loop", err: errors.New("no room")})},
			code: handshake.CodeTransport, says: []string{"could not listen", "loop/1: no room"},
		},
		{
			name: "a certificate that does not parse", binding: binding(), opts: []plugin.Option{offered(func(o *negotiation.Offer) { o.ClientCert = "rubbish" }), tcp},
			code: handshake.CodeSecurity, says: []string{"the host's certificate in PLUGIN_CLIENT_CERT does not parse"},
		},
		{name: "no common security", binding: binding(), opts: []plugin.Option{offered(), tcp}, code: handshake.CodeSecurity, says: []string{"no security in common"}},
		{
			name: "its own TLS alone", binding: binding(), opts: []plugin.Option{offered(), tcp, plugin.WithTLSConfig(&tls.Config{MinVersion: tls.VersionTLS13})},
			code: handshake.CodeSecurity, says: []string{"no security in common", "plugin: tls", "host.WithTLSConfig"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			line, err := serve(t, tt.binding, tt.opts...)
			if err == nil {
				t.Fatal("Serve returns nil")
			}
			text, ok := strings.CutPrefix(line, "\n")
			answer, parseErr := negotiation.ParseAnswer(text, "SESAME")
			if !ok || parseErr != nil || answer.Refusal == nil {
				t.Fatalf("answer %q: %+v, %v; want a refusal on a line of its own", line, answer, parseErr)
			}
			if answer.Refusal.Code != tt.code {
				t.Errorf("code %s, want %s", answer.Refusal.Code, tt.code)
			}
			for _, words := range tt.says {
				if !strings.Contains(answer.Refusal.Error(), words) {
					t.Errorf("the answer lacks %q: %v", words, answer.Refusal)
				}
			}
		})
	}
}

// A host may name no protocol, or one that the plugin does not have. Package plugintest
// tests hosts that name one of the plugin's.
func TestSeveralProtocols(t *testing.T) {
	t.Parallel()
	other := protocol.Bind(protocol.New("other", 7, &testpb.UnimplementedService_ServiceDesc), testpb.UnimplementedUnimplementedServiceServer{})
	foreign := environment(map[string]string{"PLUGIN_TRANSPORTS": "loop", "PLUGIN_PROTOCOL_VERSIONS": "2,7"})
	for _, tt := range []struct {
		binding protocol.Binding
		want    string // the beginning of the answer
	}{
		{protocol.Join(binding(), other), "1|2|loop|"},
		{protocol.Join(other, binding()), "1|7|loop|"},
	} {
		line, err := serve(t, tt.binding, foreign, plugin.WithTransports(loop{name: "loop"}))
		if err != nil || !strings.HasPrefix(line, tt.want) {
			t.Errorf("answer %q, error %v; want %s", line, err, tt.want)
		}
	}
	_, err := serve(t, protocol.Join(other, binding()), offered(func(o *negotiation.Offer) { o.Protocol = "third" }), plugin.WithTransports(loop{name: "loop"}))
	if err == nil || !strings.Contains(err.Error(), "different protocols (host: third; plugin: other, test)") {
		t.Errorf("the host wants a third one: %v", err)
	}
}

// If the preferred transport cannot be opened, the plugin takes the next.
func TestFallback(t *testing.T) {
	t.Parallel()
	first := loop{name: "first", err: errors.New("no room")}
	line, err := serve(t, binding(), environment(map[string]string{"PLUGIN_TRANSPORTS": "first,loop"}), plugin.WithTransports(loop{name: "loop"}, first))
	if err != nil || !strings.HasPrefix(line, "1|2|loop|") {
		t.Errorf("answer %q, error %v", line, err)
	}
}

// If the host has ended before the answer, no listener is left.
func TestAnswerCannotBeWritten(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	err := plugin.Serve(t.Context(), binding(), quiet, plugin.WithAnswerWriter(w),
		environment(map[string]string{"PLUGIN_TRANSPORTS": "loop"}), plugin.WithTransports(loop{name: "loop", closed: closed}))
	if !errors.Is(err, io.ErrClosedPipe) || !strings.Contains(err.Error(), "write the answer") {
		t.Errorf("Serve = %v", err)
	}
	select {
	case <-closed:
	default:
		t.Error("the listener is open")
	}
}

// Shutdown functions run in order when the context of Serve ends, and Serve returns their
// errors.
func TestShutdownFunctions(t *testing.T) {
	t.Parallel()
	var order []string
	hook := func(name string, err error) plugin.Option {
		return plugin.OnShutdown(func(ctx context.Context) error {
			if plugin.Logger(ctx) == slog.Default() {
				t.Errorf("%s has not the plugin's logger", name)
			}
			if _, ok := ctx.Deadline(); !ok || ctx.Err() != nil {
				t.Errorf("%s: the context has a deadline: %t, error: %v", name, ok, ctx.Err())
			}
			order = append(order, name)
			return err
		})
	}
	failed := errors.New("failed")
	_, err := serve(t, binding(), environment(map[string]string{"PLUGIN_TRANSPORTS": "loop"}), plugin.WithTransports(loop{name: "loop"}),
		hook("a", nil), hook("b", failed), hook("c", nil))
	if got := strings.Join(order, ""); got != "cba" {
		t.Errorf("order %q, want cba", got)
	}
	if !errors.Is(err, failed) {
		t.Errorf("Serve = %v, want %v", err, failed)
	}
}

// The handler that was added last gets a record first, and the plugin's logger gets it last.
func TestLogHandlers(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	with := func(key string) plugin.Option {
		return plugin.WithLogHandler(func(next slog.Handler) slog.Handler { return next.WithAttrs([]slog.Attr{slog.Bool(key, true)}) })
	}
	_, err := serve(t, binding(), environment(map[string]string{"PLUGIN_TRANSPORTS": "loop"}), plugin.WithTransports(loop{name: "loop"}),
		plugin.WithLogger(slog.New(slog.NewTextHandler(&out, nil))), with("a"), with("b"),
		plugin.OnShutdown(func(ctx context.Context) error {
			plugin.Logger(ctx).InfoContext(ctx, "ending")
			return nil
		}))
	if err != nil {
		t.Error(err)
	}
	if got := out.String(); !strings.Contains(got, "msg=ending a=true b=true") {
		t.Errorf("the log is %q", got)
	}
}

// The error of an option names the option.
func TestOptions(t *testing.T) {
	t.Parallel()
	for want, opt := range map[string]plugin.Option{
		"a transport is nil":          plugin.WithTransports(nil),
		"plugin.WithLogger":           plugin.WithLogger(nil),
		"plugin.WithMaxMessageSize(-": plugin.WithMaxMessageSize(-1),
		`plugin.WithCookie: ""`:       plugin.WithCookie("", "x"),
		`plugin.WithCookie: "A=B"`:    plugin.WithCookie("A=B", "x"),
		"plugin.WithTLSConfig":        plugin.WithTLSConfig(nil),
		"plugin.OnShutdown":           plugin.OnShutdown(nil),
		"plugin.WithLookupEnv":        plugin.WithLookupEnv(nil),
		"plugin.WithAnswerWriter":     plugin.WithAnswerWriter(nil),
	} {
		_, err := serve(t, binding(), environment(nil), plugin.WithTransports(loop{name: "loop"}), opt)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v", want, err)
		}
	}
	var none grpc.UnaryServerInterceptor
	if _, err := serve(t, binding(), environment(map[string]string{"PLUGIN_TRANSPORTS": "loop"}), plugin.WithTransports(loop{name: "loop"}), plugin.WithInterceptors(none, nil)); err != nil {
		t.Errorf("no interceptors: %v", err)
	}
}
