package supervise

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// usage counts the calls and streams of a plugin that is stopped when it has none.
type usage struct {
	epoch time.Time
	open  atomic.Int64 // calls and streams that have not ended
	last  atomic.Int64 // when the last one ended, since epoch
}

func (u *usage) begin() { u.open.Add(1) }

func (u *usage) end() {
	u.touch()
	u.open.Add(-1)
}

// touch is a use that takes no time.
func (u *usage) touch() { u.last.Store(int64(time.Since(u.epoch))) }

// left returns how much of d is left until nobody has used the plugin for d.
func (u *usage) left(d time.Duration) time.Duration {
	if u.open.Load() > 0 {
		return d
	}
	return d - (time.Since(u.epoch) - time.Duration(u.last.Load()))
}

// stream counts the stream that open opens until it has ended.
func (u *usage) stream(ctx context.Context, desc *grpc.StreamDesc, open func() (grpc.ClientStream, error)) (grpc.ClientStream, error) {
	u.begin()
	s, err := open()
	if err != nil {
		u.end()
		return nil, err
	}
	end := sync.OnceFunc(u.end)
	stop := context.AfterFunc(ctx, end) // grpc demands that a caller ends the context of a stream that it does not read to its end
	return &countedStream{ClientStream: s, answers: desc.ServerStreams, end: func() {
		stop()
		end()
	}}, nil
}

// countedStream is a stream that counts as a use.
type countedStream struct {
	grpc.ClientStream
	answers bool // it has many answers
	end     func()
}

// RecvMsg receives the next answer.
func (s *countedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err != nil || !s.answers {
		s.end()
	}
	return err
}

// rest stops the plugin if nobody has used it for a while. Calls that come before it has
// ended wait for the next one.
func (m *machine) rest() {
	if m.state.Phase != PhaseReady {
		return
	}
	left := m.usage.left(m.plan.idle)
	if m.swap != nil || m.plan.wanted != nil && m.plan.wanted() {
		left = m.plan.idle
	}
	if left > 0 {
		m.idle.Reset(left)
		return
	}
	l, plugin := m.current, m.state.Plugin
	m.publish(PhaseIdle, nil)
	// A call first counts and then looks where to go. So a call that counts now may have gone
	// to the plugin, and could last longer than its grace. Later ones wait for a new plugin.
	if m.usage.open.Load() > 0 {
		m.publish(PhaseReady, l.instance)
		m.idle.Reset(m.plan.idle)
		return
	}
	l.resting = true
	l.stopProbe()
	m.history.forget()
	m.state.Err = nil
	m.publish(PhaseIdle, nil)
	m.tell(Event{Kind: KindIdle, Plugin: plugin})
	m.working.Go(func() { m.stop(l) })
}

// wake starts a plugin because there is a call, or will do so when the last one has ended.
func (m *machine) wake() {
	m.waking = true
	if m.current == nil {
		m.launch()
	}
}

// rested is the end of a plugin that was idle.
func (m *machine) rested() {
	if m.waking {
		m.launch()
	}
}
