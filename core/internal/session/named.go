package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/plugwire/plugwire/core/internal/mux"
)

// The two halves of a named stream meet on the plugin's side, whichever side opens it. The
// host's stream says what it is for, and then waits there for the plugin's half. When the
// two meet, the plugin writes byteMet and the host answers with the same byte. From then on
// the stream is the application's. So neither side waits on a stream that the other has
// given up. A side that gives up while the two meet makes the other fail, or read the end.
const (
	byteMet     = 1
	byteRefused = 2 // too many streams wait already
)

// maxParked bounds the host's streams that wait for the plugin: each holds a goroutine. A
// host that accepts one name in a thousand goroutines still works.
const maxParked = 1024

// Named opens, for purpose Offered, or accepts, for Awaited, a stream with the given name.
// It returns when the plugin has done its half. The context bounds the wait.
func (s *Session) Named(ctx context.Context, purpose Purpose, name string) (net.Conn, error) {
	if s.foreign {
		return nil, errors.New("the plugin is of another framework, which has no named streams")
	}
	stream, err := s.Open(ctx, Preamble{Purpose: purpose, Name: name})
	if err != nil {
		return nil, err
	}
	conn := stream.Conn
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err = awaitMeeting(conn)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	if s.share != nil {
		conn = s.share.name(conn)
	}
	return conn, nil
}

func awaitMeeting(conn net.Conn) error {
	var b [1]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return fmt.Errorf("the plugin ended before it did its half: %w", err)
	}
	switch b[0] {
	case byteMet:
		if _, err := conn.Write(b[:]); err != nil {
			return fmt.Errorf("the plugin gave the stream up: %w", err)
		}
		return nil
	case byteRefused:
		return fmt.Errorf("%d named streams wait for the plugin already", maxParked)
	default:
		return fmt.Errorf("the plugin answered with byte %d", b[0])
	}
}

// meeting is where the halves of named streams find each other.
type meeting struct {
	tasks sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	places map[Preamble]*place
	count  int // streams of all places
	ended  chan struct{}
}

// place is where the halves with one preamble meet. The meeting's mu guards its fields. A
// place without streams and callers does not exist.
type place struct {
	streams []*parkedStream // in the order in which they came
	callers int             // calls of take, from their begin to their end
	arrived chan struct{}   // holds an item if a stream may wait without a caller
}

// signal wakes a caller. One that finds more streams than the one it takes passes the
// signal on, so a single item is enough.
func (p *place) signal() {
	select {
	case p.arrived <- struct{}{}:
	default:
	}
}

// parkedStream is a host's stream that waits. A goroutine reads from it, so that the
// plugin notices when the host gives it up.
type parkedStream struct {
	net.Conn
	first chan error // receives the outcome of reading the host's answer
}

func newMeeting() *meeting {
	return &meeting{places: make(map[Preamble]*place), ended: make(chan struct{})}
}

// at returns the place of a preamble. The caller holds mu, adds something to the place, and
// later calls leave.
func (m *meeting) at(p Preamble) *place {
	pl := m.places[p]
	if pl == nil {
		pl = &place{arrived: make(chan struct{}, 1)}
		m.places[p] = pl
	}
	return pl
}

// leave removes a place that nothing waits at. The caller holds mu.
func (m *meeting) leave(p Preamble) {
	if pl := m.places[p]; pl != nil && len(pl.streams) == 0 && pl.callers == 0 {
		delete(m.places, p)
	}
}

// park takes a stream of the host's.
func (m *meeting) park(p Preamble, conn net.Conn) {
	s := &parkedStream{Conn: conn, first: make(chan error, 1)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isEnded() {
		_ = conn.Close() // no call will ask for it
		return
	}
	pl := m.at(p)
	defer m.leave(p)
	if m.count >= maxParked && len(pl.streams) >= pl.callers {
		m.tasks.Go(func() {
			_ = conn.SetDeadline(time.Now().Add(AdmitTimeout))
			_, _ = conn.Write([]byte{byteRefused})
			_ = conn.Close()
		})
		return
	}
	pl.streams = append(pl.streams, s)
	m.count++
	pl.signal()
	m.tasks.Go(func() { m.watch(p, s) })
}

// watch reads the byte by which the host says that it is still there, after the plugin has
// told it that the two have met. Any other byte, or the end, drops the stream.
func (m *meeting) watch(p Preamble, s *parkedStream) {
	var b [1]byte
	_, err := io.ReadFull(s, b[:])
	if err == nil && b[0] != byteMet {
		err = fmt.Errorf("the host answered with byte %d", b[0])
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	waits := m.remove(p, s)
	if waits || err != nil {
		_ = s.Close() // the host has gone, or spoke before it was asked
	}
	s.first <- err
}

// remove removes a stream that waits, and reports false if it waits no more. The caller
// holds mu.
func (m *meeting) remove(p Preamble, s *parkedStream) bool {
	pl := m.places[p]
	if pl == nil {
		return false
	}
	i := slices.Index(pl.streams, s)
	if i < 0 {
		return false
	}
	pl.streams = slices.Delete(pl.streams, i, i+1)
	m.count--
	m.leave(p)
	return true
}

// meet does the plugin's half: it takes the first of the host's streams that the host has
// not given up.
func (m *meeting) meet(ctx context.Context, p Preamble) (net.Conn, error) {
	if len(p.Name) > maxName {
		return nil, errLongName(p.Name)
	}
	for {
		s, err := m.take(ctx, p)
		if err != nil {
			return nil, err
		}
		ok, err := m.shake(ctx, s)
		if ok {
			return s.Conn, nil
		}
		_ = s.Close()
		if err != nil {
			return nil, err
		}
	}
}

// take waits for a stream of the host's.
func (m *meeting) take(ctx context.Context, p Preamble) (*parkedStream, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	pl := m.at(p)
	pl.callers++
	defer func() {
		pl.callers--
		if len(pl.streams) > 0 {
			pl.signal() // this caller may have taken the signal of another
		}
		m.leave(p)
	}()
	for {
		switch {
		case m.isEnded():
			return nil, mux.ErrEnded
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case len(pl.streams) > 0:
			s := pl.streams[0]
			m.remove(p, s)
			return s, nil
		}
		m.mu.Unlock()
		select {
		case <-pl.arrived:
		case <-ctx.Done():
		case <-m.ended:
		}
		m.mu.Lock()
	}
}

// shake tells the host that the two have met. It reports false if the host has gone
// meanwhile.
func (m *meeting) shake(ctx context.Context, s *parkedStream) (bool, error) {
	if err := s.SetDeadline(time.Now().Add(AdmitTimeout)); err != nil {
		return false, nil //nolint:nilerr // it is closed; the next stream may not be
	}
	if _, err := s.Write([]byte{byteMet}); err != nil {
		return false, nil //nolint:nilerr // the host has gone; the next stream may be there
	}
	select {
	case err := <-s.first:
		if err == nil {
			err = s.SetDeadline(time.Time{})
		}
		return err == nil, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case <-m.ended:
		return false, mux.ErrEnded
	}
}

func (m *meeting) isEnded() bool {
	select {
	case <-m.ended:
		return true
	default:
		return false
	}
}

// end closes the streams that wait, and waits for the goroutines. Streams that have met
// belong to their users.
func (m *meeting) end() {
	m.mu.Lock()
	if !m.isEnded() {
		close(m.ended)
	}
	for _, pl := range m.places {
		for _, s := range pl.streams {
			_ = s.Close() // watch then notices
		}
	}
	m.mu.Unlock()
	m.tasks.Wait()
}
