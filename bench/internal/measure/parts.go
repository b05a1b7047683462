package measure

import (
	"fmt"
	"slices"
	"time"

	"github.com/plugwire/plugwire/bench/internal/messages"
	"github.com/plugwire/plugwire/bench/internal/peers"
)

// A Part is what one process measures of one peer.
type Part struct {
	Name  string
	Lossy bool // whether it runs in a network that loses packets

	measure func(*run) error // with a running plugin
	starts  func(*run) error // starts plugins itself; instead of measure
}

// Parts has all parts.
var Parts = []*Part{
	{Name: "start", starts: starting},
	{Name: "unary", measure: oneCaller},
	{Name: "mixed", measure: mixed},
	{Name: "metadata", measure: withMetadata},
	{Name: "callers", measure: manyCallers},
	{Name: "callers-mixed", measure: manyMixed},
	{Name: "callers-metadata", measure: manyMetadata},
	{Name: "echo-64k", measure: large(Echo64K, 64<<10)},
	{Name: "echo-1m", measure: large(Echo1M, 1<<20)},
	{Name: "server-1k", measure: stream(Server1K, serverStream, 1<<10, messagesASecond)},
	{Name: "client-1k", measure: stream(Client1K, clientStream, 1<<10, messagesASecond)},
	{Name: "server-64k", measure: stream(Server64K, serverStream, 64<<10, megabytesASecond)},
	{Name: "client-64k", measure: stream(Client64K, clientStream, 64<<10, megabytesASecond)},
	{Name: "bidi", measure: pingPong},
	{Name: "callback", measure: callback},
	{Name: "beside", measure: besideLarge},
	{Name: "blocked-wait", measure: blocked(BlockedWait, &messages.Payload{WaitMicros: blockMicros})},
	{Name: "blocked-compute", measure: blocked(BlockedCompute, &messages.Payload{ComputeMicros: blockMicros})},
	{Name: "loss", Lossy: true, measure: loss},
}

// FindPart returns a part by its name, or nil.
func FindPart(name string) *Part {
	i := slices.IndexFunc(Parts, func(p *Part) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return Parts[i]
}

// Measures reports whether the part measures the peer at all.
func (p *Part) Measures(peer *peers.Peer) bool { return !p.Lossy || peer.Lossy }

const (
	callers = 64

	// largeCallers echo messages of 1 MiB while others make small calls.
	largeCallers = 8

	// besideCallers make calls while a handler blocks.
	besideCallers = 4

	// blockMicros is how long that handler blocks.
	blockMicros = 30_000

	// blocks is how often it does in one round. The time between two is for the
	// framework to forget.
	blocks = 4

	// streamBytes is how much one stream moves, which hides what opening it costs.
	streamBytes = 16 << 20

	// settle is how long a plugin rests before its memory is read.
	settle = 100 * time.Millisecond
)

// warmUp is how long a part runs before it measures.
func (m *run) warmUp() time.Duration { return m.cfg.Slice / 2 }

// starting starts plugins one after the other, each until its first answer.
func starting(m *run) error {
	var times []time.Duration
	for begin := time.Now(); len(times) < 2 || time.Since(begin) < 2*m.cfg.Slice; {
		if err := withScratch(func(dir string) error {
			start := time.Now()
			s, err := m.start("", dir)
			if err != nil {
				return err
			}
			times = append(times, time.Since(start))
			return s.Close()
		}); err != nil {
			return err
		}
	}
	m.values[Start] = millis(percentile(times[1:], 0.5)) // the first fills caches
	return m.rest()
}

// rest reads the memory of a plugin that has answered once.
func (m *run) rest() error {
	return withScratch(func(dir string) error {
		s, err := m.start("", dir)
		if err != nil {
			return err
		}
		time.Sleep(min(settle, m.cfg.Slice))
		if bytes, ok := anonymousMemory(s.PID); ok {
			m.values[Memory] = float64(bytes) / 1e6
		}
		return s.Close()
	})
}

// one measures a method with one caller. It returns nil times if there is no such method.
func (m *run) one(call func() error) (times []time.Duration, u consumption, err error) {
	if _, err := repeat(m.warmUp(), call); err != nil {
		return nil, u, err
	}
	u, err = m.usage(func() (err error) {
		times, err = repeat(m.cfg.Slice, call)
		return err
	})
	return times, u, err
}

func oneCaller(m *run) error {
	times, u, err := m.one(unary(m.ctx, m.session.Unary, small))
	if err != nil {
		return err
	}
	m.values[UnaryP50], m.values[UnaryP99] = micros(percentile(times, 0.5)), micros(percentile(times, 0.99))
	host, plugin := u.allocs(len(times))
	m.values[UnaryAllocs], m.values[UnaryAllocsHost], m.values[UnaryAllocsPlugin] = host+plugin, host, plugin
	return nil
}

func mixed(m *run) error {
	return m.median(MixedP50, m.session.Mixed)
}

func callback(m *run) error {
	return m.median(CallbackP50, m.session.Callback)
}

// median measures the median of a method, if the peer has the method.
func (m *run) median(key string, call method) error {
	if call == nil {
		return nil
	}
	times, _, err := m.one(unary(m.ctx, call, small))
	if err == nil {
		m.values[key] = micros(percentile(times, 0.5))
	}
	return err
}

func withMetadata(m *run) error {
	if m.session.Metadata == nil {
		return nil
	}
	times, u, err := m.one(withDeadline(m.ctx, m.session.Metadata, small))
	if err != nil {
		return err
	}
	host, plugin := u.allocs(len(times))
	m.values[MetadataP50], m.values[MetadataAllocs] = micros(percentile(times, 0.5)), host+plugin
	return nil
}

// many measures calls of many callers.
func (m *run) many(call func() error) (calls int, rate float64, u consumption, err error) {
	if _, _, err := parallel(callers, m.warmUp(), call); err != nil {
		return 0, 0, u, err
	}
	u, err = m.usage(func() error {
		n, took, err := parallel(callers, m.cfg.Slice, call)
		calls, rate = n, float64(n)/took.Seconds()
		return err
	})
	return calls, rate, u, err
}

func manyCallers(m *run) error {
	calls, rate, u, err := m.many(unary(m.ctx, m.session.Unary, small))
	if err != nil {
		return err
	}
	host, plugin := u.cpu(calls)
	m.values[UnaryRate], m.values[UnaryCPU], m.values[UnaryCPUHost] = rate, host+plugin, host
	return nil
}

func manyMixed(m *run) error {
	_, rate, _, err := m.many(unary(m.ctx, m.session.Mixed, small))
	m.values[MixedRate] = rate
	return err
}

func manyMetadata(m *run) error {
	if m.session.Metadata == nil {
		return nil
	}
	_, rate, _, err := m.many(withDeadline(m.ctx, m.session.Metadata, small))
	m.values[MetadataRate] = rate
	return err
}

// large measures how many bytes one caller echoes. They count once, and not each way.
func large(key string, size int) func(*run) error {
	p := &messages.Payload{Data: make([]byte, size)}
	return func(m *run) error {
		times, _, err := m.one(unary(m.ctx, m.session.Unary, p))
		if err != nil {
			return err
		}
		var sum time.Duration
		for _, t := range times {
			sum += t
		}
		m.values[key] = megabytesASecond(len(times), size, sum)
		return nil
	}
}

func megabytesASecond(count, size int, took time.Duration) float64 {
	return float64(count) * float64(size) / 1e6 / took.Seconds()
}

func messagesASecond(count, _ int, took time.Duration) float64 {
	return float64(count) / took.Seconds()
}

// streamOf chooses a kind of stream of a session. It returns a function that moves
// messages by one stream, or nil.
type streamOf func(*run) func(count, size int) (int, error)

func serverStream(m *run) func(count, size int) (int, error) {
	if m.session.ServerStream == nil {
		return nil
	}
	return func(count, size int) (int, error) { return m.session.ServerStream(m.ctx, count, size) }
}

func clientStream(m *run) func(count, size int) (int, error) {
	if m.session.ClientStream == nil {
		return nil
	}
	return func(count, size int) (int, error) { return m.session.ClientStream(m.ctx, count, size) }
}

// stream measures one stream after the other.
func stream(key string, which streamOf, size int, rate func(count, size int, took time.Duration) float64) func(*run) error {
	return func(m *run) error {
		move := which(m)
		if move == nil {
			return nil
		}
		count := streamBytes / size
		times, _, err := m.one(func() error {
			n, err := move(count, size)
			if err == nil && n != count {
				err = fmt.Errorf("%d of %d messages have arrived", n, count)
			}
			return err
		})
		if err != nil {
			return err
		}
		var sum time.Duration
		for _, t := range times {
			sum += t
		}
		m.values[key] = rate(count*len(times), size, sum)
		return nil
	}
}

func pingPong(m *run) error {
	if m.session.Bidi == nil {
		return nil
	}
	ping, done, err := m.session.Bidi(m.ctx)
	if err != nil {
		return err
	}
	times, _, err := m.one(func() error { return ping(small) })
	if err != nil {
		return err
	}
	m.values[BidiP50] = micros(percentile(times, 0.5))
	return done()
}

// besideLarge measures small calls while others move large messages.
func besideLarge(m *run) error {
	p := &messages.Payload{Data: make([]byte, 1<<20)}
	stop := background(largeCallers, unary(m.ctx, m.session.Unary, p))
	times, _, err := m.one(unary(m.ctx, m.session.Unary, small))
	if stopErr := stop(); err == nil {
		err = stopErr
	}
	if err != nil {
		return err
	}
	m.values[BesideP50], m.values[BesideP99] = micros(percentile(times, 0.5)), micros(percentile(times, 0.99))
	return nil
}

// blocked measures the longest of many quick calls while a call of the same method
// blocks. It has been quick until then, which is the hardest case for a framework that
// runs quick handlers where it reads.
func blocked(key string, p *messages.Payload) func(*run) error {
	return func(m *run) error {
		call := unary(m.ctx, m.session.Unary, small)
		var longest time.Duration
		for range blocks {
			if _, _, err := parallel(besideCallers, m.warmUp(), call); err != nil {
				return err
			}
			blocker := make(chan error, 1)
			go func() {
				_, err := m.session.Unary(m.ctx, p)
				blocker <- err
			}()
			times, _, err := timed(besideCallers, blockMicros*time.Microsecond, call)
			if blockErr := <-blocker; err == nil {
				err = blockErr
			}
			if err != nil {
				return err
			}
			longest = max(longest, percentile(times, 1))
		}
		m.values[key] = millis(longest)
		return nil
	}
}

// loss measures many callers over a network that loses packets. It takes longer, because
// few calls meet a loss.
func loss(m *run) error {
	call := unary(m.ctx, m.session.Unary, small)
	if _, _, err := parallel(callers, m.warmUp(), call); err != nil {
		return err
	}
	return m.profiled(func() error {
		times, took, err := timed(callers, 5*m.cfg.Slice, call)
		if err != nil {
			return err
		}
		m.values[LossRate], m.values[LossP999] = float64(len(times))/took.Seconds(), millis(percentile(times, 0.999))
		return nil
	})
}
