// Package work is what the handlers and the callers of all peers have in common: the
// work of each method, on the messages of the benchmark. A peer's own code only
// connects it to its framework.
package work

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/plugwire/plugwire/bench/internal/messages"
)

// Service is the name of the service in protocols that name services.
const Service = "plugwire.bench.Echo"

// These are the names of its methods.
const (
	MethodUnary        = "Unary"
	MethodMixed        = "Mixed"
	MethodCallback     = "Callback"
	MethodServerStream = "ServerStream"
	MethodClientStream = "ClientStream"
	MethodBidi         = "Bidi"
)

// Unary is the quick handler. A request can ask it to sleep or to compute first.
func Unary(p *messages.Payload) *messages.Payload {
	if wait := p.GetWaitMicros(); wait > 0 {
		time.Sleep(time.Duration(wait) * time.Microsecond)
	}
	if compute := p.GetComputeMicros(); compute > 0 {
		spin(time.Duration(compute) * time.Microsecond)
	}
	return &messages.Payload{Data: p.GetData()}
}

// spin keeps a processor busy.
func spin(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
	}
}

// One call out of so many of the method Mixed sleeps, for so long. That is often enough for a
// framework to see that the handler blocks, and too rare to change the median.
const (
	sleepEvery = 32
	sleepFor   = 200 * time.Microsecond
)

// SleepyHandler takes a lock and now and then sleeps.
type SleepyHandler struct {
	mu    sync.Mutex
	calls int // guarded by mu
}

// Call handles one call.
func (m *SleepyHandler) Call(p *messages.Payload) *messages.Payload {
	m.mu.Lock()
	m.calls++
	sleeps := m.calls%sleepEvery == 0
	m.mu.Unlock()
	if sleeps {
		time.Sleep(sleepFor)
	}
	return &messages.Payload{Data: p.GetData()}
}

// SendAll sends the payloads that a request for a server stream asks for.
func SendAll(req *messages.StreamRequest, send func(*messages.Payload) error) error {
	return SendCount(int(req.GetCount()), int(req.GetSize()), send)
}

// SendCount sends count payloads of the given size.
func SendCount(count, size int, send func(*messages.Payload) error) error {
	p := &messages.Payload{Data: make([]byte, size)}
	for range count {
		if err := send(p); err != nil {
			return err
		}
	}
	return nil
}

// Count receives payloads until the stream ends, and returns how many it received.
func Count(receive func() (*messages.Payload, error)) (int, error) {
	for n := 0; ; n++ {
		switch _, err := receive(); {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, err
		}
	}
}

// Echo sends each payload back until the stream ends.
func Echo(receive func() (*messages.Payload, error), send func(*messages.Payload) error) error {
	for {
		p, err := receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := send(p); err != nil {
			return err
		}
	}
}
