// Package after is what hosts and plugins on Plugwire do where those on go-plugin
// set a field. docs/migrating-from-go-plugin.md quotes each function.
package after

import (
	"context"
	"crypto"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/plugins/hello"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

var cookie = host.WithCookie("GREETER_PLUGIN", "hello")

// GreeterProtocolV2 is a second version. A generator writes it, like the first.
var GreeterProtocolV2 = protocol.New("hello", 2, &hello.Greeter_ServiceDesc)

// Versions is a host that speaks two versions. It returns the chosen one.
func Versions(ctx context.Context, cmd *exec.Cmd) (int, error) {
	p, err := host.Launch(ctx, cmd,
		host.WithProtocols(hello.GreeterProtocol, GreeterProtocolV2),
		host.WithTransports(unix.New()), cookie)
	if err != nil {
		return 0, err
	}
	version := p.Protocol().Version() // decides which generated client is right
	return version, p.Close()
}

// ServeVersions is a plugin that serves two versions, each by a handler of its
// own.
func ServeVersions(first hello.GreeterHandler, second hello.GreeterServer) {
	plugin.Main(protocol.Join(
		hello.ServeGreeter(first),
		protocol.Bind(GreeterProtocolV2, second),
	), plugin.WithTransports(unix.New()))
}

// Options is a host that sets the most common options.
func Options(ctx context.Context, cmd *exec.Cmd, stdout, stderr io.Writer) (*host.Plugin, error) {
	cmd.Env = []string{"HOME=" + os.Getenv("HOME")} // the plugin gets nothing else of this process's environment
	return host.Launch(ctx, cmd,
		host.WithProtocols(hello.GreeterProtocol),
		host.WithTransports(unix.New(), tcp.New()),
		host.WithCookie("GREETER_PLUGIN", "hello"),
		host.WithMutualTLS(), // weaker security is refused, even if the kernel identifies the plugin
		host.WithMultiplex(),
		host.WithPortRange(20000, 20100),
		host.WithStartTimeout(10*time.Second),
		host.WithStdout(stdout),
		host.WithStderr(stderr))
}

// Plugins are the plugins of a program, which stops them at its end.
type Plugins struct {
	mu  sync.Mutex // guards the field below
	all []*host.Plugin
}

// Add adds a plugin that Close stops.
func (p *Plugins) Add(one *host.Plugin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, one)
}

// Close stops them side by side.
func (p *Plugins) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	errs := make([]error, len(p.all))
	var closing sync.WaitGroup
	for i, one := range p.all {
		closing.Go(func() { errs[i] = one.Close() })
	}
	closing.Wait()
	return errors.Join(errs...)
}

// Stop gives the plugin three seconds for its calls in flight. It kills a process
// that still runs then.
func Stop(p *host.Plugin) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return p.Shutdown(ctx)
}

// Watch calls ended when the plugin has ended, with nil if its host asked for
// it.
func Watch(p *host.Plugin, ended func(error)) {
	go func() {
		<-p.Done()
		ended(p.Err())
	}()
}

// WithGreeter is a host that serves something to its plugin, without an id.
func WithGreeter(ctx context.Context, cmd *exec.Cmd, handler hello.GreeterHandler) (*host.Plugin, error) {
	return host.Launch(ctx, cmd,
		host.WithProtocols(hello.GreeterProtocol),
		host.WithTransports(unix.New()),
		host.WithServices(hello.ServeGreeter(handler)))
}

// CallHost is a handler of the plugin that calls what the host serves.
func CallHost(ctx context.Context) (*hello.GreetResponse, error) {
	return hello.NewGreeterClient(plugin.Host(ctx)).Greet(ctx, &hello.GreetRequest{Name: "host"})
}

// Serve is a host that serves something to the plugin, and tells it the id.
func Serve(ctx context.Context, p *host.Plugin, handler hello.GreeterHandler, call func(id uint32) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	id := p.Broker().NextID()
	served := make(chan error, 1)
	go func() { served <- p.Broker().Serve(ctx, id, hello.ServeGreeter(handler)) }()
	err := call(id)
	stop()
	return errors.Join(err, <-served)
}

// Dial is a handler of the plugin that calls what the host serves under an id.
func Dial(ctx context.Context, id uint32) (*hello.GreetResponse, error) {
	conn, err := plugin.Broker(ctx).Dial(ctx, id)
	if err != nil {
		return nil, err
	}
	response, err := hello.NewGreeterClient(conn).Greet(ctx, &hello.GreetRequest{Name: "host"})
	return response, errors.Join(err, conn.Close())
}

// Checked is a host that runs only a program with a known checksum.
func Checked(ctx context.Context, cmd *exec.Cmd, sum []byte) (*host.Plugin, error) {
	return host.Launch(ctx, cmd,
		host.WithProtocols(hello.GreeterProtocol),
		host.WithTransports(unix.New()),
		host.WithChecksum(crypto.SHA256, sum),
		cookie)
}

// Attach is a host that calls a plugin which runs already.
func Attach(ctx context.Context, text string) (*host.Plugin, error) {
	info, err := handshake.ParseAttachInfo(text)
	if err != nil {
		return nil, err
	}
	return host.Attach(ctx, info, host.WithProtocols(hello.GreeterProtocol), host.WithTransports(unix.New()))
}
