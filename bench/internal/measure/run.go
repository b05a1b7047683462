package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/plugwire/plugwire/bench/internal/agent"
	"github.com/plugwire/plugwire/bench/internal/messages"
	"github.com/plugwire/plugwire/bench/internal/peers"
)

// Config says how to measure.
type Config struct {
	Programs string        // directory of the plugins' programs
	Slice    time.Duration // how long a part measures
	Profile  string        // prefix of the names of processor profiles; empty for none
}

// Run measures one part of a peer. It returns no values if the peer does not have what
// the part measures. The process should do nothing else before and after: heap and
// goroutines of another part change the figures.
func Run(ctx context.Context, peer *peers.Peer, part *Part, cfg Config) (Values, error) {
	m := &run{ctx: ctx, peer: peer, cfg: cfg, values: Values{}}
	var err error
	if part.starts != nil {
		err = part.starts(m)
	} else {
		err = m.withPlugin(part.measure)
	}
	return m.values, err
}

// run is the measurement of one part of a peer.
type run struct {
	ctx    context.Context //nolint:containedctx // a run is one call
	peer   *peers.Peer
	cfg    Config
	values Values

	session *peers.Session // the running plugin
	agent   *agent.Client
}

// start starts a plugin without an agent, and calls it once.
func (m *run) start(address, scratch string) (*peers.Session, error) {
	s, err := m.peer.Start(m.ctx, peers.Where{Programs: m.cfg.Programs, Scratch: scratch, Agent: address})
	if err != nil {
		return nil, err
	}
	if err := unary(m.ctx, s.Unary, small)(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// withScratch calls f with a new directory, which it removes.
func withScratch(f func(dir string) error) (err error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return f(dir)
}

// withPlugin calls f while a plugin with an agent runs.
func (m *run) withPlugin(f func(*run) error) error {
	return withScratch(func(dir string) (err error) {
		address := filepath.Join(dir, "agent")
		if m.agent, err = agent.Listen(m.ctx, address); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.agent.Close()) }()
		if m.session, err = m.start(address, dir); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.session.Close()) }()
		return f(m)
	})
}

// profiled calls f, with profiles of both processes if the user wants them.
func (m *run) profiled(f func() error) (err error) {
	if m.cfg.Profile == "" {
		return f()
	}
	file, err := os.Create(m.cfg.Profile + ".host.pprof")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	stop, err := m.agent.Profile(m.cfg.Profile + ".plugin.pprof")
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return errors.Join(err, stop())
	}
	err = f()
	pprof.StopCPUProfile()
	return errors.Join(err, stop())
}

// consumption is what both processes have used during some calls.
type consumption struct{ host, plugin agent.Usage }

// usage calls f, and returns what each side has used meanwhile.
func (m *run) usage(f func() error) (u consumption, err error) {
	runtime.GC() // the garbage of the start is not that of the calls
	pluginBefore, err := m.agent.Usage()
	if err != nil {
		return u, err
	}
	hostBefore, err := agent.Own()
	if err != nil {
		return u, err
	}
	if err := m.profiled(f); err != nil {
		return u, err
	}
	host, err := agent.Own()
	if err != nil {
		return u, err
	}
	plugin, err := m.agent.Usage()
	return consumption{host.Sub(hostBefore), plugin.Sub(pluginBefore)}, err
}

func (u consumption) allocs(calls int) (host, plugin float64) {
	return float64(u.host.Objects) / float64(calls), float64(u.plugin.Objects) / float64(calls)
}

// cpu returns microseconds for each call.
func (u consumption) cpu(calls int) (host, plugin float64) {
	return micros(u.host.CPU) / float64(calls), micros(u.plugin.CPU) / float64(calls)
}

// method is a unary method of a session.
type method = func(context.Context, *messages.Payload) (*messages.Payload, error)

// smallSize is the size of the payload of an ordinary call.
const smallSize = 64

var small = &messages.Payload{Data: make([]byte, smallSize)}

// unary returns a function that makes one call and checks its answer.
func unary(ctx context.Context, call method, p *messages.Payload) func() error {
	return func() error { return checked(ctx, call, p) }
}

// checked makes one call and checks its answer. It allocates nothing itself, since the
// allocations of calls are counted.
func checked(ctx context.Context, call method, p *messages.Payload) error {
	answer, err := call(ctx, p)
	if err == nil && len(answer.GetData()) != len(p.GetData()) {
		err = fmt.Errorf("the answer to %d bytes has %d", len(p.GetData()), len(answer.GetData()))
	}
	return err
}

// callTimeout is the deadline of calls that have one. Nothing reaches it.
const callTimeout = 10 * time.Second

// withDeadline is unary with a deadline for each call.
func withDeadline(ctx context.Context, call method, p *messages.Payload) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		return checked(ctx, call, p)
	}
}
