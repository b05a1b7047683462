package broker

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/goplugin/messages"
	"github.com/plugwire/plugwire/core/internal/goplugin/multiplex"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/session"
	"github.com/plugwire/plugwire/core/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hang is how long a test waits before it fails.
const hang = 20 * time.Second

// memoryStream is one side of a link in memory.
type memoryStream struct {
	ctx context.Context //nolint:containedctx // that of the stream, as grpc's have
	in  <-chan messages.ConnInfo
	out chan<- messages.ConnInfo
}

func (m *memoryStream) Context() context.Context { return m.ctx }

func (m *memoryStream) SendMsg(msg any) error {
	select {
	case m.out <- *msg.(*messages.ConnInfo):
		return nil
	case <-m.ctx.Done():
		return m.ctx.Err()
	}
}

func (m *memoryStream) RecvMsg(msg any) error {
	select {
	case got, ok := <-m.in:
		if !ok {
			return io.EOF
		}
		*msg.(*messages.ConnInfo) = got
		return nil
	case <-m.ctx.Done():
		return m.ctx.Err()
	}
}

// join links two brokers until unlink, which waits for both.
func join(a, b *Broker) (unlink func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ab, ba := make(chan messages.ConnInfo), make(chan messages.ConnInfo)
	done := make(chan struct{}, 2)
	go func() { _ = a.Exchange(&memoryStream{ctx, ba, ab}); done <- struct{}{} }()
	go func() { _ = b.Exchange(&memoryStream{ctx, ab, ba}); done <- struct{}{} }()
	return func() {
		cancel()
		<-done
		<-done
	}
}

// hand links a broker with the test. in sends to the broker, and out returns what the broker
// sends. Once the link has ended, in does nothing and out returns false, so that no goroutine
// of the test blocks.
func hand(b *Broker) (in func(messages.ConnInfo), out func() (messages.ConnInfo, bool), unlink func()) {
	ctx, cancel := context.WithCancel(context.Background())
	toBroker, fromBroker := make(chan messages.ConnInfo), make(chan messages.ConnInfo)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Exchange(&memoryStream{ctx, toBroker, fromBroker})
	}()
	in = func(m messages.ConnInfo) {
		select {
		case toBroker <- m:
		case <-done:
		}
	}
	out = func() (messages.ConnInfo, bool) {
		select {
		case m := <-fromBroker:
			return m, true
		case <-done:
			return messages.ConnInfo{}, false
		}
	}
	return in, out, func() {
		cancel()
		<-done
	}
}

// unixTransport is the part of a transport that these tests need.
type unixTransport struct{ dir string }

func (unixTransport) Name() string    { return "unix" }
func (unixTransport) Versions() []int { return []int{1} }

func (u unixTransport) Listen(ctx context.Context, _ transport.ListenConfig) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "unix", filepath.Join(u.dir, time.Now().Format("150405.000000000")))
}

func (unixTransport) Dial(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", cfg.Address)
}

// modes returns, for each mode, a pair of brokers that are not linked: host and plugin.
var modes = map[string]func(t *testing.T) (host, plugin *Broker){
	"addresses":   addressed,
	"multiplexed": multiplexed,
}

func addressed(t *testing.T) (host, plugin *Broker) {
	t.Helper()
	dir := t.TempDir()
	side := func(name, other string) *Broker {
		addresses := &Addresses{Transports: transport.Set{unixTransport{dir}}, Networks: []string{"unix"}, Credentials: secure.Plaintext()}
		return New(Config{Side: name, Other: other, MaxMessageSize: 1 << 20, Listen: addresses.Listen, Dial: addresses.Dial, OnPanic: ignorePanic})
	}
	return side("host", "plugin"), side("plugin", "host")
}

func ignorePanic(context.Context, string, any, []byte) {}

func multiplexed(t *testing.T) (host, plugin *Broker) {
	t.Helper()
	u := unixTransport{t.TempDir()}
	ln, err := u.Listen(t.Context(), transport.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	plugins := multiplex.NewPluginEnd(ln, secure.Plaintext(), nil)
	conn, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := multiplex.NewHostEnd(t.Context(), conn, secure.Plaintext())
	if err != nil {
		t.Fatal(err)
	}
	s := hosts.Session()
	// The stream for calls comes first.
	calls, err := s.Open(t.Context(), session.Preamble{Purpose: session.Calls})
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := plugins.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = errors.Join(calls.Close(), accepted.Close(), s.Close())
		plugins.End()
	})
	return New(Config{Side: "host", Other: "plugin", MaxMessageSize: 1 << 20, Streams: hosts, OnPanic: ignorePanic}),
		New(Config{Side: "plugin", Other: "host", MaxMessageSize: 1 << 20, Streams: plugins, OnPanic: ignorePanic})
}

// services registers what a test serves.
type services func(r grpc.ServiceRegistrar)

func (s services) Register(r grpc.ServiceRegistrar) error {
	s(r)
	return nil
}

func (services) RequiresServer() bool { return false }

var registerHealth = services(func(r grpc.ServiceRegistrar) { healthpb.RegisterHealthServer(r, health.NewServer()) })

// serve serves health until stop is called, which returns the result of Serve.
func serve(b *Broker, id uint32) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- b.serve(ctx, id, registerHealth) }()
	return func() error {
		cancel()
		return <-served
	}
}

func check(ctx context.Context, cc grpc.ClientConnInterface) error {
	_, err := healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}

// use dials, calls and closes.
func use(t *testing.T, b *Broker, id uint32) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	conn, err := b.Dial(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(check(ctx, conn), conn.Close()); err != nil {
		t.Errorf("id %d: %v", id, err)
	}
}

// TestBothWays serves and dials from both sides under the same numbers: many times, many at
// once, and also with the dialing before the serving.
func TestBothWays(t *testing.T) {
	for name, pair := range modes {
		t.Run(name, func(t *testing.T) {
			host, plugin := pair(t)
			unlink := join(host, plugin)
			dialed := 0
			for range 5 {
				for _, sides := range [][2]*Broker{{host, plugin}, {plugin, host}} {
					id := sides[0].NextID()
					early := startUse(t, sides[1], id)
					stop := serve(sides[0], id)
					if err := <-early; err != nil {
						t.Error(err)
					}
					for range 3 {
						use(t, sides[1], id)
						dialed++
					}
					if err := stop(); err != nil {
						t.Errorf("Serve: %v", err)
					}
				}
			}
			if dialed != 30 {
				t.Errorf("dialed %d times", dialed)
			}
			plugin.Close(net.ErrClosed)
			host.Close(net.ErrClosed)
			unlink()
		})
	}
}

func startUse(t *testing.T, b *Broker, id uint32) <-chan error {
	t.Helper()
	used := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), hang)
		defer cancel()
		conn, err := b.Dial(ctx, id)
		if err == nil {
			err = errors.Join(check(ctx, conn), conn.Close())
		}
		used <- err
	}()
	return used
}

// TestManyAtOnce dials many ids at the same time. Each dial gets its own stream.
func TestManyAtOnce(t *testing.T) {
	const ids = 16
	for name, pair := range modes {
		t.Run(name, func(t *testing.T) {
			host, plugin := pair(t)
			unlink := join(host, plugin)
			var stops []func() error
			var uses []<-chan error
			for range ids {
				id := plugin.NextID()
				stops = append(stops, serve(plugin, id))
				uses = append(uses, startUse(t, host, id), startUse(t, host, id))
			}
			for _, used := range uses {
				if err := <-used; err != nil {
					t.Error(err)
				}
			}
			for _, stop := range stops {
				if err := stop(); err != nil {
					t.Error(err)
				}
			}
			plugin.Close(net.ErrClosed)
			host.Close(net.ErrClosed)
			unlink()
		})
	}
}

// TestServedTwice serves an id again. That works only once the id is no longer served.
func TestServedTwice(t *testing.T) {
	for name, pair := range modes {
		t.Run(name, func(t *testing.T) {
			host, plugin := pair(t)
			defer join(host, plugin)()
			defer host.Close(net.ErrClosed)
			defer plugin.Close(net.ErrClosed)
			stop := serve(plugin, 1)
			use(t, host, 1)
			if err := plugin.serve(t.Context(), 1, registerHealth); !errors.Is(err, errIDInUse) {
				t.Errorf("served twice: %v", err)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			// A dial meanwhile waits for the new server, and does not use the old address.
			early := startUse(t, host, 1)
			stop = serve(plugin, 1)
			if err := <-early; err != nil {
				t.Error(err)
			}
			use(t, host, 1)
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEnd ends brokers. Everything in use fails with the reason of the end.
func TestEnd(t *testing.T) {
	for name, pair := range modes {
		t.Run(name, func(t *testing.T) {
			host, plugin := pair(t)
			defer join(host, plugin)()
			served := serveForEver(plugin)
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			conn, err := host.Dial(ctx, 1)
			if err != nil {
				t.Fatal(err)
			}
			reason := errors.New("the plugin crashed")
			host.Close(reason)
			if err := check(ctx, conn); status.Code(err) != codes.Unavailable || !errors.Is(err, reason) {
				t.Errorf("a call after the end: %v", err)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			if _, err := host.Dial(ctx, 1); !errors.Is(err, reason) {
				t.Errorf("Dial after the end: %v", err)
			}
			plugin.Close(reason)
			if err := <-served; !errors.Is(err, reason) {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}

func serveForEver(b *Broker) <-chan error {
	served := make(chan error, 1)
	go func() { served <- b.serve(context.Background(), 1, registerHealth) }()
	return served
}

// TestServerEnds ends the server of the other side. Calls fail, also later ones, until the
// connection is closed.
func TestServerEnds(t *testing.T) {
	for name, pair := range modes {
		t.Run(name, func(t *testing.T) {
			host, plugin := pair(t)
			defer join(host, plugin)()
			defer host.Close(net.ErrClosed)
			defer plugin.Close(net.ErrClosed)
			stop := serve(plugin, 1)
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			conn, err := host.Dial(ctx, 1)
			if err != nil {
				t.Fatal(err)
			}
			watch, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := watch.Recv(); err != nil {
				t.Fatal(err)
			}
			if err := stop(); err != nil {
				t.Errorf("Serve: %v", err)
			}
			_, inFlight := watch.Recv()
			after := check(ctx, conn)
			for when, err := range map[string]error{"in flight": inFlight, "after": after} {
				if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "id 1 to the plugin has ended") {
					t.Errorf("a call %s: %v", when, err)
				}
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestServerRenews dials a server of another framework, which renews its connections. No call
// fails until the server has ended.
func TestServerRenews(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan struct{}, 1000)
	server := grpc.NewServer(grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: 20 * time.Millisecond}))
	healthpb.RegisterHealthServer(server, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- server.Serve(reportingListener{ln, accepted}) }()
	b := New(Config{Side: "host", Other: "plugin", MaxMessageSize: 1 << 20, Dial: func(ctx context.Context, network, address string) (net.Conn, secure.Info, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, address)
		return conn, secure.Info{Security: handshake.SecurityNone}, err
	}})
	in, _, unlink := hand(b)
	in(messages.ConnInfo{ServiceID: 7, Network: "tcp", Address: ln.Addr().String()})
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	conn, err := b.Dial(ctx, 7)
	if err != nil {
		t.Fatal(err)
	}
	for len(accepted) < 4 {
		if err := check(ctx, conn); err != nil {
			t.Fatal(err)
		}
	}
	server.Stop()
	if err := check(ctx, conn); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "id 7 to the plugin has ended") {
		t.Errorf("a call after the end: %v", err)
	}
	if err := errors.Join(conn.Close(), <-served); err != nil {
		t.Error(err)
	}
	b.Close(net.ErrClosed)
	unlink()
}

// reportingListener is a listener that reports what it accepts.
type reportingListener struct {
	net.Listener
	accepted chan<- struct{}
}

func (c reportingListener) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.accepted <- struct{}{}
	}
	return conn, err
}

// TestD10LateDial dials an hour after the address was announced. go-plugin drops an address
// after five seconds.
func TestD10LateDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dialed string
		b := New(Config{Side: "host", Other: "plugin", Dial: func(_ context.Context, network, address string) (net.Conn, secure.Info, error) {
			dialed = network + " " + address
			return nil, secure.Info{}, net.ErrClosed
		}})
		in, _, unlink := hand(b)
		in(messages.ConnInfo{ServiceID: 7, Network: "unix", Address: "/s"})
		time.Sleep(time.Hour)
		if _, err := b.Dial(t.Context(), 7); !errors.Is(err, net.ErrClosed) || dialed != "unix /s" {
			t.Errorf("dialed %q: %v", dialed, err)
		}
		b.Close(net.ErrClosed)
		unlink()
	})
}

// TestOffersOfAnother attaches a second host, which uses the same numbers. The addresses of
// the first host are forgotten, and later ones from it ignored. An address that is too long
// is ignored too.
func TestOffersOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dialed []string
		b := New(Config{Side: "plugin", Other: "host", Dial: func(_ context.Context, _, address string) (net.Conn, secure.Info, error) {
			dialed = append(dialed, address)
			return nil, secure.Info{}, net.ErrClosed
		}})
		first, _, unlinkFirst := hand(b)
		first(messages.ConnInfo{ServiceID: 1, Network: "unix", Address: "/first"})
		synctest.Wait()
		in, _, unlink := hand(b)
		synctest.Wait()
		first(messages.ConnInfo{ServiceID: 1, Network: "unix", Address: "/late"})
		synctest.Wait()
		ended := make(chan error)
		go func() {
			_, err := b.Dial(t.Context(), 1)
			ended <- err
		}()
		synctest.Wait()
		in(messages.ConnInfo{ServiceID: 1, Network: "unix", Address: "/" + strings.Repeat("x", transport.MaxAddressLen)})
		in(messages.ConnInfo{ServiceID: 1, Network: "unix", Address: "/second"})
		if err := <-ended; !errors.Is(err, net.ErrClosed) || len(dialed) != 1 || dialed[0] != "/second" {
			t.Errorf("dialed %q: %v", dialed, err)
		}
		b.Close(net.ErrClosed)
		unlink()
		unlinkFirst()
	})
}

// TestKnockOfAnother attaches a host after another one has knocked. The new host gets no
// answer to that knock, since its next stream would be taken for the stream of the first host.
func TestKnockOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := &fakeStreams{}
		b := New(Config{Side: "plugin", Other: "host", Streams: streams})
		first, _, unlinkFirst := hand(b)
		knock := messages.ConnInfo{ServiceID: 1, Knock: &messages.Knock{Knock: true}}
		first(knock)
		synctest.Wait()
		_, _, unlink := hand(b)
		synctest.Wait()
		first(knock)
		synctest.Wait()
		stop := serve(b, 1)
		synctest.Wait()
		if n := len(streams.expected); n > 0 {
			t.Errorf("%d streams are expected", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		unlinkFirst()
		unlink()
		b.Close(net.ErrClosed)
	})
}

// TestD16NoLink plays a peer that never opens the broker's stream. go-plugin's Accept blocks
// forever then.
func TestD16NoLink(t *testing.T) {
	for name, streams := range map[string]Streams{"addresses": nil, "multiplexed": &fakeStreams{}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := New(Config{Side: "plugin", Other: "host", Streams: streams, Listen: listenNowhere})
				for what, try := range map[string]func(context.Context) error{
					"Dial":  func(ctx context.Context) error { _, err := b.Dial(ctx, 1); return err },
					"Serve": func(ctx context.Context) error { return b.serve(ctx, 2, registerHealth) },
				} {
					began := time.Now()
					err := try(context.Background())
					if took := time.Since(began); err == nil || took != timeout {
						t.Errorf("%s: %v after %v, want %v", what, err, took, timeout)
					}
					if err != nil && !strings.Contains(err.Error(), "the host has not") {
						t.Errorf("%s: %v", what, err)
					}
				}
				b.Close(net.ErrClosed)
			})
		})
	}
}

func listenNowhere(context.Context) (*session.Listener, string, string, error) {
	return session.NewListener(&idleListener{make(chan struct{})}, session.ListenerConfig{Kind: handshake.SessionDirect, Credentials: secure.Plaintext(), Foreign: true}), "unix", "/nowhere", nil
}

// idleListener is a listener that nothing connects to.
type idleListener struct {
	closed chan struct{}
}

func (e *idleListener) Accept() (net.Conn, error) {
	<-e.closed
	return nil, net.ErrClosed
}

func (e *idleListener) Close() error {
	close(e.closed)
	return nil
}

func (e *idleListener) Addr() net.Addr { return &net.UnixAddr{Name: "/nowhere", Net: "unix"} }

// fakeStreams counts streams and has none.
type fakeStreams struct {
	opened   int
	expected []func(*session.Stream)
}

func (f *fakeStreams) OpenStream(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.opened++
	return nil, net.ErrClosed
}

func (f *fakeStreams) Authenticate(context.Context, net.Conn) (net.Conn, secure.Info, error) {
	return nil, secure.Info{}, net.ErrClosed
}

func (f *fakeStreams) Expect(deliver func(*session.Stream)) bool {
	f.expected = append(f.expected, deliver)
	return len(f.expected) < 100
}

// TestD16LostAcceptor sends knocks for ids that are not served, or no longer served. In
// go-plugin the accepting loop blocks then, and the knock gets no answer.
func TestD16LostAcceptor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := &fakeStreams{}
		b := New(Config{Side: "host", Other: "plugin", Streams: streams})
		in, out, unlink := hand(b)
		knock := messages.ConnInfo{ServiceID: 3, Knock: &messages.Knock{Knock: true}}
		answer := func(want string) {
			t.Helper()
			began := time.Now()
			in(knock)
			m, _ := out()
			if took := time.Since(began); took > knockPatience || m.ServiceID != 3 || !m.Knock.Knock || !m.Knock.Ack || (m.Knock.Error == "") != (want == "") || !strings.Contains(m.Knock.Error, want) {
				t.Errorf("%+v %+v after %v", m, m.Knock, took)
			}
		}
		answer("the host does not accept id 3")
		stop := serve(b, 3)
		synctest.Wait()
		answer("")
		if err := stop(); err != nil {
			t.Error(err)
		}
		answer("the host does not accept id 3")
		// A knock that comes first is answered as soon as its id is served.
		in(knock)
		synctest.Wait()
		stop = serve(b, 3)
		if m, _ := out(); m.Knock.Error != "" || len(streams.expected) != 2 {
			t.Errorf("%+v, %d streams expected", m.Knock, len(streams.expected))
		}
		b.Close(net.ErrClosed)
		if err := stop(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
		unlink()
	})
}

// TestD17KnocksAgain knocks for one id again and again, at intervals at which go-plugin loses
// an acknowledgement.
func TestD17KnocksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := &fakeStreams{}
		b := New(Config{Side: "host", Other: "plugin", Streams: streams})
		in, out, unlink := hand(b)
		for i := range 5 {
			go func() {
				m, _ := out()
				in(messages.ConnInfo{ServiceID: m.ServiceID, Knock: &messages.Knock{Knock: true, Ack: true}})
			}()
			if _, err := b.Dial(t.Context(), 9); !errors.Is(err, net.ErrClosed) || streams.opened != i+1 {
				t.Errorf("%d: %v, %d streams opened", i, err, streams.opened)
			}
			time.Sleep(5*time.Second - time.Duration(i-2)*time.Millisecond)
		}
		b.Close(net.ErrClosed)
		unlink()
	})
}

// TestLateAcknowledgement gives up a dial before its acknowledgement comes. The other side
// still gets the stream that it expects, so that it does not take the next stream for it.
func TestLateAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := &fakeStreams{}
		b := New(Config{Side: "host", Other: "plugin", Streams: streams})
		in, out, unlink := hand(b)
		ack := func(id uint32) messages.ConnInfo {
			return messages.ConnInfo{ServiceID: id, Knock: &messages.Knock{Knock: true, Ack: true}}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		go out()
		if _, err := b.Dial(ctx, 1); !errors.Is(err, context.DeadlineExceeded) || streams.opened != 0 {
			t.Errorf("%v, %d streams opened", err, streams.opened)
		}
		cancel()
		go func() {
			out()
			in(ack(1))
			in(ack(2))
		}()
		if _, err := b.Dial(t.Context(), 2); !errors.Is(err, net.ErrClosed) || streams.opened != 2 {
			t.Errorf("%v, %d streams opened, want one for each acknowledgement", err, streams.opened)
		}
		in(ack(1)) // a second answer, to no knock
		in(ack(5))
		synctest.Wait()
		if streams.opened != 2 {
			t.Errorf("%d streams opened", streams.opened)
		}
		b.Close(net.ErrClosed)
		unlink()
	})
}

// TestAcknowledgedAsGivenUp checks that one stream follows each acknowledgement, also if the
// dial ends at that moment. Otherwise the other side would take the next stream for it.
func TestAcknowledgedAsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := &fakeStreams{}
		b := New(Config{Side: "host", Other: "plugin", Streams: streams})
		in, out, unlink := hand(b)
		for i := range 200 {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = b.Dial(ctx, 1)
			}()
			out()
			go cancel()
			in(messages.ConnInfo{ServiceID: 1, Knock: &messages.Knock{Knock: true, Ack: true}})
			<-ended
			synctest.Wait()
			if streams.opened != i+1 {
				t.Fatalf("%d streams were opened after %d acknowledgements", streams.opened, i+1)
			}
		}
		b.Close(net.ErrClosed)
		unlink()
		if len(b.abandoned) != 0 {
			t.Errorf("%d knocks count as not answered", len(b.abandoned))
		}
	})
}

// TestOtherSideReadsNothing plays an other side that knocks without end and reads no answer.
// A Serve of an id that it has knocked for still ends with its context, and the link ends
// with its stream.
func TestOtherSideReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := &fakeStreams{}
		b := New(Config{Side: "plugin", Other: "host", Streams: streams})
		ctx, cancel := context.WithCancel(t.Context())
		in := make(chan messages.ConnInfo)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = b.Exchange(&memoryStream{ctx, in, nil})
		}()
		knock := messages.ConnInfo{ServiceID: 1, Knock: &messages.Knock{Knock: true}}
		in <- knock
		synctest.Wait()
		for range maxKnocks - 1 { // these wait
			knock.ServiceID++
			in <- knock
		}
		for range sendQueue + 2 { // these are answered at once: one is being sent, and one waits
			knock.ServiceID++
			in <- knock
		}
		synctest.Wait()
		serving, giveUp := context.WithTimeout(t.Context(), time.Second)
		began := time.Now()
		if err := b.serve(serving, 1, registerHealth); err != nil || time.Since(began) != time.Second {
			t.Errorf("Serve: %v after %v, want %v", err, time.Since(began), time.Second)
		}
		giveUp()
		cancel()
		synctest.Wait()
		select {
		case <-ended:
		default:
			t.Error("the link goes on without its stream")
		}
		b.Close(net.ErrClosed)
		<-ended
		if n := len(streams.expected); n > 0 {
			t.Errorf("%d streams are expected that nobody was told to open", n)
		}
	})
}

// TestRefusals dials an id that the other side refuses until the dial gives up.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Side: "host", Other: "plugin", Streams: &fakeStreams{}})
		in, out, unlink := hand(b)
		var knocks int
		var refusing sync.WaitGroup
		refusing.Go(func() {
			for m, ok := out(); ok; m, ok = out() {
				knocks++
				in(messages.ConnInfo{ServiceID: m.ServiceID, Knock: &messages.Knock{Knock: true, Ack: true, Error: "no listener"}})
			}
		})
		began := time.Now()
		_, err := b.Dial(t.Context(), 1)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `the plugin refuses: "no listener"`) || time.Since(began) != timeout {
			t.Errorf("Dial: %v after %v, want a refusal after %v", err, time.Since(began), timeout)
		}
		unlink()
		refusing.Wait()
		if most := int(timeout/knockPause) + 1; knocks < 2 || knocks > most {
			t.Errorf("%d knocks, want some and at most %d", knocks, most)
		}
		b.refuse(errors.New("it has no broker"))
		began = time.Now()
		if _, err := b.Dial(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "it has no broker") || time.Since(began) != 0 {
			t.Errorf("Dial: %v after %v", err, time.Since(began))
		}
		b.Close(net.ErrClosed)
	})
}

// TestNoAnswer dials an id for which the other side sends no answer.
func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Side: "host", Other: "plugin", Streams: &fakeStreams{}})
		_, out, unlink := hand(b)
		dialed := make(chan error)
		go func() {
			_, err := b.Dial(t.Context(), 1)
			dialed <- err
		}()
		out()
		out() // another knock, without an answer
		const want = "broker: dial id 1: the plugin has not accepted it: it has not answered within 6s: context deadline exceeded"
		if err := <-dialed; err == nil || err.Error() != want || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial: %v, want %s", err, want)
		}
		b.Close(net.ErrClosed)
		unlink()
	})
}

// noStream is a connection on which the broker's stream ends with an error.
type noStream struct {
	grpc.ClientConnInterface
	err error
}

func (n noStream) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, n.err
}

// TestNoBroker dials a plugin that has no broker, and one whose stream has ended.
func TestNoBroker(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{status.Error(codes.Unimplemented, "unknown service"), "broker: dial id 1: the plugin does not broker connections: it has no broker"},
		{status.Error(codes.Unavailable, "EOF"), "broker: dial id 1: the broker's stream to the plugin has ended: rpc error: code = Unavailable desc = EOF"},
	} {
		b := New(Config{Side: "host", Other: "plugin"})
		b.Start(noStream{err: tt.err})
		if _, err := b.Dial(t.Context(), 1); err == nil || err.Error() != tt.want {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
		b.Close(net.ErrClosed)
	}
}

// TestKnocksUntilAccepted dials an id that the other side accepts after it has refused one
// knock and lost another, as go-plugin does. Dials of other ids go on between the knocks.
func TestKnocksUntilAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := &fakeStreams{}
		b := New(Config{Side: "host", Other: "plugin", Streams: streams})
		in, out, unlink := hand(b)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		dialed := make(chan uint32, 2)
		dial := func(id uint32) {
			if _, err := b.Dial(ctx, id); !errors.Is(err, net.ErrClosed) { // that of the stream
				t.Errorf("Dial of id %d: %v", id, err)
			}
			dialed <- id
		}
		answer := func(id uint32, reason string) {
			t.Helper()
			if m, _ := out(); m.ServiceID != id {
				t.Errorf("a knock for id %d, want %d", m.ServiceID, id)
			}
			in(messages.ConnInfo{ServiceID: id, Knock: &messages.Knock{Knock: true, Ack: true, Error: reason}})
		}
		go dial(1)
		answer(1, "no listener")
		out() // gets no answer
		go dial(2)
		answer(2, "")
		if id := <-dialed; id != 2 {
			t.Errorf("id %d was dialed first", id)
		}
		answer(1, "")
		<-dialed
		if streams.opened != 2 {
			t.Errorf("%d streams opened, want one for each acknowledgement", streams.opened)
		}
		b.Close(net.ErrClosed)
		unlink()
	})
}

// FuzzMessages receives random messages. The broker keeps a bounded number of them, and ends.
func FuzzMessages(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7}, true)
	f.Add([]byte("\x00\x01\x00\x02\x00\x03\x01\x01\x02\x01"), false)
	f.Fuzz(func(t *testing.T, script []byte, streams bool) {
		synctest.Test(t, func(t *testing.T) {
			cfg := Config{Side: "host", Other: "plugin", Listen: listenNowhere, Dial: func(context.Context, string, string) (net.Conn, secure.Info, error) {
				return nil, secure.Info{}, net.ErrClosed
			}}
			if streams {
				cfg.Streams = &fakeStreams{}
			}
			b := New(cfg)
			in, out, unlink := hand(b)
			go func() { // its result does not matter
				for _, ok := out(); ok; _, ok = out() {
				}
			}()
			stop := serve(b, 1)
			go func() { _, _ = b.Dial(t.Context(), 2) }()
			for i := 0; i+1 < len(script); i += 2 {
				m := messages.ConnInfo{ServiceID: uint32(script[i+1]), Network: "unix", Address: string(script)}
				if kind := script[i] % 5; kind > 0 {
					m.Knock = &messages.Knock{Knock: kind&1 > 0, Ack: kind&2 > 0, Error: string(script[:kind-1])}
				}
				in(m)
			}
			synctest.Wait()
			b.mu.Lock()
			if len(b.offers) > maxOffers || len(b.order) != len(b.offers) || len(b.knocks) > maxKnocks {
				t.Errorf("%d offers, %d in order, %d knocks", len(b.offers), len(b.order), len(b.knocks))
			}
			b.mu.Unlock()
			b.Close(net.ErrClosed)
			_ = stop() // it has to return, whatever the result
			unlink()
		})
	})
}
