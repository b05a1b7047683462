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

// Named streams meet on the plugin's side, whichever side opens: the host's
// stream says what it is for and then waits there for the plugin's half. When
// the two meet, the plugin writes [met] and the host answers with the same byte;
// from then on the stream is the application's. So neither side is left waiting on
// a stream that the other has given up: if that happens while they meet, it has an
// error, or reads the end at once.
const (
	met     = 1
	refused = 2 // too many wait already
)

// maxParked bounds the host's streams that wait for the plugin: each holds a
// goroutine. A host that accepts one name in a thousand goroutines is still
// served.
const maxParked = 1024

// Named opens, for purpose Offered, or accepts, for Awaited, a stream with the
// given name, and returns when the plugin has done its half. The context bounds
// the wait.
func (s *Session) Named(ctx context.Context, purpose Purpose, name string) (net.Conn, error) {
	if s.foreign {
		return nil, errors.New("the plugin is of another framework, which has no named streams")
	}
	conn, _, err := s.Open(ctx, Preamble{purpose, name})
	if err != nil {
		return nil, err
	}
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
	case met:
		if _, err := conn.Write(b[:]); err != nil {
			return fmt.Errorf("the plugin gave the stream up: %w", err)
		}
		return nil
	case refused:
		return fmt.Errorf("%d named streams wait for the plugin already", maxParked)
	default:
		return fmt.Errorf("the plugin answered with byte %d", b[0])
	}
}

// meeting is where the halves of named streams find each other: at any time,
// of one preamble either streams wait or callers do.
type meeting struct {
	tasks sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	parked  map[Preamble][]*parked
	waiting map[Preamble][]chan *parked // each with room for one
	count   int                         // of all parked
	ended   chan struct{}
}

// parked is a host's stream that waits. A goroutine reads from it, so that one
// which the host gives up is noticed.
type parked struct {
	net.Conn
	first chan error // the outcome of reading the host's answer, in time
}

func newMeeting() *meeting {
	return &meeting{
		parked:  make(map[Preamble][]*parked),
		waiting: make(map[Preamble][]chan *parked),
		ended:   make(chan struct{}),
	}
}

// park takes a stream of the host's.
func (m *meeting) park(p Preamble, conn net.Conn) {
	s := &parked{Conn: conn, first: make(chan error, 1)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isEnded() {
		_ = conn.Close() // nobody will ask for it
		return
	}
	if m.count == maxParked && len(m.waiting[p]) == 0 {
		m.tasks.Go(func() {
			_ = conn.SetDeadline(time.Now().Add(admitTimeout))
			_, _ = conn.Write([]byte{refused})
			_ = conn.Close()
		})
		return
	}
	m.tasks.Go(func() { m.watch(p, s) })
	m.offer(p, s)
}

// offer gives s to the first who waits, or keeps it. The caller holds mu.
func (m *meeting) offer(p Preamble, s *parked) {
	if list := m.waiting[p]; len(list) > 0 {
		list[0] <- s
		setOrDelete(m.waiting, p, list[1:])
		return
	}
	m.parked[p] = append(m.parked[p], s)
	m.count++
}

// watch reads the byte by which the host says that it is still there, after it
// was told that the two have met. Any other, or the end, drops the stream.
func (m *meeting) watch(p Preamble, s *parked) {
	var b [1]byte
	_, err := io.ReadFull(s, b[:])
	if err == nil && b[0] != met {
		err = fmt.Errorf("the host answered with byte %d", b[0])
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := slices.Contains(m.parked[p], s)
	if kept {
		m.remove(p, s)
	}
	if kept || err != nil {
		_ = s.Close() // it is gone, or spoke before it was asked
	}
	s.first <- err
}

// remove takes s out of those that wait. The caller holds mu.
func (m *meeting) remove(p Preamble, s *parked) {
	list := m.parked[p]
	i := slices.Index(list, s)
	setOrDelete(m.parked, p, slices.Delete(list, i, i+1))
	m.count--
}

func setOrDelete[V any](lists map[Preamble][]V, p Preamble, list []V) {
	if len(list) == 0 {
		delete(lists, p)
		return
	}
	lists[p] = list
}

// meet does the plugin's half: it takes the first of the host's streams that is
// still wanted.
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
func (m *meeting) take(ctx context.Context, p Preamble) (*parked, error) {
	m.mu.Lock()
	if m.isEnded() {
		m.mu.Unlock()
		return nil, mux.ErrEnded
	}
	if list := m.parked[p]; len(list) > 0 {
		s := list[0]
		m.remove(p, s)
		m.mu.Unlock()
		return s, nil
	}
	mine := make(chan *parked, 1)
	m.waiting[p] = append(m.waiting[p], mine)
	m.mu.Unlock()

	var err error
	select {
	case s := <-mine:
		return s, nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-m.ended:
		err = mux.ErrEnded
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.Index(m.waiting[p], mine); i >= 0 {
		setOrDelete(m.waiting, p, slices.Delete(m.waiting[p], i, i+1))
		return nil, err
	}
	// It came at the same moment: it is for the next who asks, before those that
	// came after it, unless it has gone or spoken already, which watch can no
	// longer take back.
	if s := <-mine; m.isEnded() || len(s.first) > 0 {
		_ = s.Close()
	} else {
		m.offer(p, s)
		if list := m.parked[p]; len(list) > 1 && list[len(list)-1] == s {
			copy(list[1:], list)
			list[0] = s
		}
	}
	return nil, err
}

// shake tells the host that the two have met. It reports false if the host has
// gone meanwhile.
func (m *meeting) shake(ctx context.Context, s *parked) (bool, error) {
	if err := s.SetDeadline(time.Now().Add(admitTimeout)); err != nil {
		return false, nil //nolint:nilerr // closed, which the next one may not be
	}
	if _, err := s.Write([]byte{met}); err != nil {
		return false, nil //nolint:nilerr // as above
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

// end closes what waits, and waits for the goroutines. The streams that have met
// are their users'.
func (m *meeting) end() {
	m.mu.Lock()
	if !m.isEnded() {
		close(m.ended)
	}
	for _, list := range m.parked {
		for _, s := range list {
			_ = s.Close() // which watch then sees
		}
	}
	m.mu.Unlock()
	m.tasks.Wait()
}
