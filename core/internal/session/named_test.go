package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/streamtest"
)

// half returns the call that is the plugin's half of a stream with that purpose.
func half(l *Listener, purpose Purpose) func(ctx context.Context, name string) (net.Conn, error) {
	return func(ctx context.Context, name string) (net.Conn, error) {
		if purpose == Offered {
			return l.AcceptNamed(ctx, "", name)
		}
		return l.OpenNamed(ctx, "", name)
	}
}

// ends are the two ends of a stream.
type ends struct{ host, plugin net.Conn }

// meet opens a named stream, and closes it with the test.
func meet(t *testing.T, s *Session, l *Listener, purpose Purpose, name string) ends {
	t.Helper()
	ctx := streamtest.Bounded(t)
	host := streamtest.Go(func() (net.Conn, error) { return s.Named(ctx, purpose, name) })
	plugin, err := half(l, purpose)(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	r := streamtest.Receive(t, "the host's half", host)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	t.Cleanup(func() { streamtest.CheckClose(t, r.Value, plugin) })
	return ends{r.Value, plugin}
}

// namedCase is a kind of session, and the direction in which a stream is opened.
type namedCase struct {
	name, kind string
	purpose    Purpose
}

func cases() (all []namedCase) {
	for _, kind := range kinds {
		all = append(all, namedCase{kind + " offered", kind, Offered}, namedCase{kind + " awaited", kind, Awaited})
	}
	return all
}

func (m *meeting) counts() (parked, names, waiting int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, pl := range m.places {
		if len(pl.streams) > 0 {
			names++
		}
		if pl.callers > 0 {
			waiting++
		}
	}
	return m.count, names, waiting
}

// eventually waits until that many streams wait, and callers for that many names. It polls,
// because nothing announces either.
func (m *meeting) eventually(t *testing.T, parked, waiting int) {
	t.Helper()
	ctx := streamtest.Bounded(t)
	for {
		p, names, w := m.counts()
		if p == parked && w == waiting && (names > 0) == (parked > 0) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%d streams of %d names and callers of %d names wait; want %d streams and callers of %d names", p, names, w, parked, waiting)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestNamedMeetsInEitherOrder(t *testing.T) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			s, l := connect(t, c.kind)
			ctx := streamtest.Bounded(t)
			host := streamtest.Go(func() (net.Conn, error) { return s.Named(ctx, c.purpose, "host first") })
			l.meeting.eventually(t, 1, 0)
			if len(host) > 0 {
				t.Fatal("the host did not wait for the plugin")
			}
			plugin, err := half(l, c.purpose)(ctx, "host first")
			if err != nil {
				t.Fatal(err)
			}
			defer plugin.Close()
			first := streamtest.Receive(t, "the host's half", host)
			if first.Err != nil {
				t.Fatal(first.Err)
			}
			defer first.Value.Close()
			streamtest.CheckPassing(t, first.Value, plugin)

			waiting := streamtest.Go(func() (net.Conn, error) { return half(l, c.purpose)(ctx, "plugin first") })
			l.meeting.eventually(t, 0, 1)
			if len(waiting) > 0 {
				t.Fatal("the plugin did not wait for the host")
			}
			second, err := s.Named(ctx, c.purpose, "plugin first")
			if err != nil {
				t.Fatal(err)
			}
			defer second.Close()
			r := streamtest.Receive(t, "the plugin's half", waiting)
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			defer r.Value.Close()
			streamtest.CheckPassing(t, second, r.Value)
			streamtest.CheckPassing(t, first.Value, plugin)
			l.meeting.eventually(t, 0, 0)
		})
	}
}

// TestNamedTellsNamesAndPurposesApart opens streams of several names and both purposes.
func TestNamedTellsNamesAndPurposesApart(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			s, l := connect(t, kind)
			ctx := streamtest.Bounded(t)
			all := []Preamble{{Purpose: Offered, Name: "a"}, {Purpose: Offered, Name: "b"}, {Purpose: Awaited, Name: "a"}, {Purpose: Awaited, Name: ""}, {Purpose: Offered, Name: strings.Repeat("n", maxName)}}
			host := make(map[Preamble]<-chan streamtest.Result[net.Conn])
			for i, p := range all {
				host[p] = streamtest.Go(func() (net.Conn, error) { return s.Named(ctx, p.Purpose, p.Name) })
				l.meeting.eventually(t, i+1, 0)
			}
			for _, p := range all {
				plugin, err := half(l, p.Purpose)(ctx, p.Name)
				if err != nil {
					t.Fatal(err)
				}
				defer plugin.Close()
				r := streamtest.Receive(t, fmt.Sprintf("%+v", p), host[p])
				if r.Err != nil {
					t.Fatal(r.Err)
				}
				defer r.Value.Close()
				streamtest.CheckPassing(t, r.Value, plugin)
			}
		})
	}
}

func TestNamedKeepsTheOrderOfOneName(t *testing.T) {
	const several = 5
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			s, l := connect(t, c.kind)
			ctx := streamtest.Bounded(t)
			var host, plugin []<-chan streamtest.Result[net.Conn]
			for i := range several {
				host = append(host, streamtest.Go(func() (net.Conn, error) { return s.Named(ctx, c.purpose, "n") }))
				l.meeting.eventually(t, i+1, 0)
			}
			for range several {
				conn, err := half(l, c.purpose)(ctx, "n")
				plugin = append(plugin, streamtest.Go(func() (net.Conn, error) { return conn, err }))
			}
			for i := range several {
				h, p := streamtest.Receive(t, "host", host[i]), streamtest.Receive(t, "plugin", plugin[i])
				if err := errors.Join(h.Err, p.Err); err != nil {
					t.Fatal(err)
				}
				streamtest.CheckPassing(t, h.Value, p.Value)
				streamtest.CheckClose(t, h.Value, p.Value)
			}
		})
	}
}

// TestNamedGivenUp gives up a half that waits, on either side. The other side then meets the
// next half.
func TestNamedGivenUp(t *testing.T) {
	errGivenUp := errors.New("given up")
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			s, l := connect(t, c.kind)
			for name, open := range map[string]func(ctx context.Context, name string) (net.Conn, error){
				"host":   func(ctx context.Context, name string) (net.Conn, error) { return s.Named(ctx, c.purpose, name) },
				"plugin": half(l, c.purpose),
			} {
				t.Run(name, func(t *testing.T) {
					ctx, cancel := context.WithCancelCause(t.Context())
					waiting := streamtest.Go(func() (net.Conn, error) { return open(ctx, "n") })
					if name == "host" {
						l.meeting.eventually(t, 1, 0)
					} else {
						l.meeting.eventually(t, 0, 1)
					}
					cancel(errGivenUp)
					if r := streamtest.Receive(t, "the half that was given up", waiting); r.Value != nil || !errors.Is(r.Err, errGivenUp) {
						t.Errorf("got %v, %v; want the context's cause", r.Value, r.Err)
					}
					l.meeting.eventually(t, 0, 0)
					if conn, err := open(ctx, "n"); conn != nil || !errors.Is(err, errGivenUp) && !errors.Is(err, context.Canceled) {
						t.Errorf("with a context that has ended: %v, %v; want its error or cause", conn, err)
					}
					l.meeting.eventually(t, 0, 0)
					m := meet(t, s, l, c.purpose, "n")
					streamtest.CheckPassing(t, m.host, m.plugin)
				})
			}
		})
	}
}

// TestNamedGivenUpWhileTheyMeet gives up a half while the two meet. The other side waits for
// the next half, fails, or gets a stream that ends at once.
func TestNamedGivenUpWhileTheyMeet(t *testing.T) {
	const rounds = 200
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			s, l := connect(t, c.kind)
			ctx := streamtest.Bounded(t)
			leave := func(ctx context.Context) (net.Conn, error) { return s.Named(ctx, c.purpose, "n") }
			stay := func(ctx context.Context) (net.Conn, error) { return half(l, c.purpose)(ctx, "n") }
			for i := range rounds {
				leave, stay = stay, leave
				short, cancel := context.WithTimeout(ctx, time.Duration(i)*5*time.Microsecond)
				left := streamtest.Go(func() (net.Conn, error) { return leave(short) })
				stayed := streamtest.Go(func() (net.Conn, error) { return stay(ctx) })
				other := streamtest.Receive(t, "the side that gives up", left)
				cancel()
				var next <-chan streamtest.Result[net.Conn]
				if other.Err != nil {
					next = streamtest.Go(func() (net.Conn, error) { return leave(ctx) })
				}
				mine := streamtest.Receive(t, "the side that stays", stayed)
				if mine.Err != nil {
					if other.Err == nil {
						t.Fatalf("one side has a stream, the other %v", mine.Err)
					}
					mine = streamtest.Receive(t, "the side that stays, again", streamtest.Go(func() (net.Conn, error) { return stay(ctx) }))
				}
				if mine.Err != nil {
					t.Fatal(mine.Err)
				}
				if next != nil {
					mine.Value, other = meetNext(t, mine.Value, next, func() (net.Conn, error) { return stay(ctx) })
				}
				streamtest.CheckPassing(t, mine.Value, other.Value)
				streamtest.CheckClose(t, mine.Value, other.Value)
			}
			l.meeting.eventually(t, 0, 0)
		})
	}
}

// meetNext finds out whether mine meets the next half or ends at once. In the second case
// again opens another.
func meetNext(t *testing.T, mine net.Conn, next <-chan streamtest.Result[net.Conn], again func() (net.Conn, error)) (net.Conn, streamtest.Result[net.Conn]) {
	t.Helper()
	read := streamtest.Go(func() (int, error) { return mine.Read(make([]byte, 1)) })
	select {
	case other := <-next:
		if other.Err != nil {
			t.Fatal(other.Err)
		}
		if _, err := other.Value.Write([]byte{0}); err != nil {
			t.Fatal(err)
		}
		if r := streamtest.Receive(t, "a byte", read); r.Err != nil {
			t.Fatal(r.Err)
		}
		return mine, other
	case r := <-read:
		if r.Err == nil {
			t.Fatal("a byte came from a side that has given up")
		}
		streamtest.CheckClose(t, mine)
		mine, err := again()
		if err != nil {
			t.Fatal(err)
		}
		other := streamtest.Receive(t, "the next", next)
		if other.Err != nil {
			t.Fatal(other.Err)
		}
		return mine, other
	case <-time.After(streamtest.Hang):
		t.Fatal("the stream neither met the next one nor ended")
		return nil, streamtest.Result[net.Conn]{}
	}
}

// rawHost opens a named stream without Named, and returns when the plugin has parked it.
func rawHost(t *testing.T, s *Session, l *Listener, p Preamble) net.Conn {
	t.Helper()
	before, _, _ := l.meeting.counts()
	conn, err := s.Open(streamtest.Bounded(t), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { streamtest.CheckClose(t, conn) })
	l.meeting.eventually(t, before+1, 0)
	return conn
}

func TestParkedStreamThatGoesAwayIsForgotten(t *testing.T) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			s, l := connect(t, c.kind)
			for name, end := range map[string]func(net.Conn) error{
				"closes":               net.Conn.Close,
				"speaks unasked":       writing("x"),
				"answers before asked": writing(string(rune(byteMet))),
			} {
				conn := rawHost(t, s, l, Preamble{Purpose: c.purpose, Name: "n"})
				if err := end(conn); err != nil {
					t.Error(err)
				}
				l.meeting.eventually(t, 0, 0)
				if n, err := conn.Read(make([]byte, 1)); err == nil {
					t.Errorf("%s: %d bytes came for a stream that was dropped", name, n)
				}
			}
			m := meet(t, s, l, c.purpose, "n")
			streamtest.CheckPassing(t, m.host, m.plugin)
		})
	}
}

// TestHostThatAnswersWrongly plays a host that answers with the wrong byte. The plugin meets the
// next stream instead.
func TestHostThatAnswersWrongly(t *testing.T) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			s, l := connect(t, c.kind)
			ctx := streamtest.Bounded(t)
			wrong := rawHost(t, s, l, Preamble{Purpose: c.purpose, Name: "n"})
			right := streamtest.Go(func() (net.Conn, error) { return s.Named(ctx, c.purpose, "n") })
			l.meeting.eventually(t, 2, 0)
			plugin := streamtest.Go(func() (net.Conn, error) { return half(l, c.purpose)(ctx, "n") })
			var b [1]byte
			if _, err := io.ReadFull(wrong, b[:]); err != nil || b[0] != byteMet {
				t.Fatalf("read %d, %v; want to be told that the two have met", b[0], err)
			}
			if _, err := wrong.Write([]byte{byteMet + 1}); err != nil {
				t.Fatal(err)
			}
			streamtest.CheckEnded(t, wrong)
			r, p := streamtest.Receive(t, "the host", right), streamtest.Receive(t, "the plugin", plugin)
			if err := errors.Join(r.Err, p.Err); err != nil {
				t.Fatal(err)
			}
			defer r.Value.Close()
			defer p.Value.Close()
			streamtest.CheckPassing(t, r.Value, p.Value)
		})
	}
}

// TestHostThatNeverAnswers plays a host that does not answer. The plugin drops its stream after
// a bounded time.
func TestHostThatNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, host := parkedPipe(t, Preamble{Purpose: Offered, Name: "n"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		plugin := streamtest.Go(func() (net.Conn, error) { return l.AcceptNamed(ctx, "", "n") })
		if _, err := io.ReadFull(host, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		streamtest.CheckEnded(t, host)
		if took := time.Since(began); took != AdmitTimeout {
			t.Errorf("it was dropped after %v, want %v", took, AdmitTimeout)
		}
		if r := <-plugin; r.Value != nil || !errors.Is(r.Err, context.DeadlineExceeded) {
			t.Errorf("got %v, %v; want to wait for another until the context ends", r.Value, r.Err)
		}
		l.End()
		streamtest.CheckClose(t, host)
	})
}

// TestPluginGivesUpBetweenItsWordAndTheAnswer ends the plugin's half after the plugin has told
// the host that the two have met.
func TestPluginGivesUpBetweenItsWordAndTheAnswer(t *testing.T) {
	errGivenUp := errors.New("given up")
	for name, want := range map[string]error{"context": errGivenUp, "End": net.ErrClosed} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, host := parkedPipe(t, Preamble{Purpose: Awaited, Name: "n"})
				ctx, cancel := context.WithCancelCause(t.Context())
				plugin := streamtest.Go(func() (net.Conn, error) { return l.OpenNamed(ctx, "", "n") })
				if _, err := io.ReadFull(host, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if name == "End" {
					l.End()
				} else {
					cancel(errGivenUp)
				}
				if r := <-plugin; r.Value != nil || !errors.Is(r.Err, want) {
					t.Errorf("got %v, %v; want %v", r.Value, r.Err, want)
				}
				streamtest.CheckEnded(t, host)
				cancel(nil)
				l.End()
				streamtest.CheckClose(t, host)
			})
		})
	}
}

// parkedPipe returns a listener, and the host's end of a stream that waits there. The caller
// ends both.
func parkedPipe(t *testing.T, p Preamble) (*Listener, net.Conn) {
	t.Helper()
	ln := newPipes()
	l := NewListener(ln, ListenerConfig{Kind: handshake.SessionDirect, Credentials: secure.Plaintext()})
	host, err := direct(t, ln, false).Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	if parked, _, _ := l.meeting.counts(); parked != 1 {
		t.Fatalf("%d streams wait, want 1", parked)
	}
	return l, host
}

// TestHostDistrustsThePlugin plays plugins that answer wrongly.
func TestHostDistrustsThePlugin(t *testing.T) {
	for name, tt := range map[string]struct {
		plugin func(net.Conn) error
		want   string
	}{
		"another byte": {writing("x"), "the plugin answered with byte 120"},
		"refused":      {writing(string(rune(byteRefused))), "1024 named streams wait for the plugin already"},
		"goes away":    {net.Conn.Close, "the plugin ended before it did its half: EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPipes()
			answered := streamtest.Go(func() (net.Conn, error) {
				conn := <-p.conns
				_, err := ReadPreamble(conn)
				return conn, errors.Join(err, tt.plugin(conn))
			})
			conn, err := direct(t, p, false).Named(streamtest.Bounded(t), Offered, "n")
			if conn != nil || err == nil || err.Error() != tt.want {
				t.Errorf("got %v, %v; want %s", conn, err, tt.want)
			}
			r := streamtest.Receive(t, "the plugin", answered)
			if r.Err != nil {
				t.Error(r.Err)
			}
			streamtest.CheckClose(t, r.Value)
		})
	}
}

// TestParkedStreamsAreBounded parks as many streams as may wait. The host learns that the next
// is one too many. The plugin can still take streams.
func TestParkedStreamsAreBounded(t *testing.T) {
	s, l := connect(t, handshake.SessionYamux) // a connection each would need as many descriptors
	ctx := streamtest.Bounded(t)
	leave, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, maxParked)
	for i := range maxParked {
		go func() {
			conn, err := s.Named(leave, Offered, "n")
			if err == nil {
				err = conn.Close()
			}
			ended <- err
		}()
		if i%muxBatch == 0 {
			l.meeting.eventually(t, i+1, 0)
		}
	}
	l.meeting.eventually(t, maxParked, 0)
	for _, name := range []string{"n", "another"} {
		conn, err := s.Named(ctx, Offered, name)
		if conn != nil || err == nil || !strings.Contains(err.Error(), "1024 named streams wait for the plugin already") {
			t.Errorf("one more under name %q: %v, %v; want it refused", name, conn, err)
		}
	}
	// A stream that the plugin waits for already is not parked.
	waiting := streamtest.Go(func() (net.Conn, error) { return l.AcceptNamed(ctx, "", "another") })
	l.meeting.eventually(t, maxParked, 1)
	host, err := s.Named(ctx, Offered, "another")
	if err != nil {
		t.Fatal(err)
	}
	plugin := streamtest.Receive(t, "the plugin", waiting)
	if plugin.Err != nil {
		t.Fatal(plugin.Err)
	}
	streamtest.CheckPassing(t, host, plugin.Value)
	streamtest.CheckClose(t, host, plugin.Value)

	taken, err := l.AcceptNamed(ctx, "", "n")
	if err != nil {
		t.Fatal(err)
	}
	streamtest.CheckClose(t, taken)
	if err := streamtest.Receive(t, "the stream that was taken", ended); err != nil {
		t.Error(err)
	}
	l.meeting.eventually(t, maxParked-1, 0)
	cancel()
	for range maxParked - 1 {
		if err := streamtest.Receive(t, "a stream that was given up", ended); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
	}
	l.meeting.eventually(t, 0, 0)
}

// muxBatch is how many streams are opened at once, fewer than may be pending.
const muxBatch = MaxPending / 2

func TestEndEndsNamedStreams(t *testing.T) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			s, l := connect(t, c.kind)
			ctx := streamtest.Bounded(t)
			host := streamtest.Go(func() (net.Conn, error) { return s.Named(ctx, c.purpose, "of the host") })
			l.meeting.eventually(t, 1, 0)
			plugin := streamtest.Go(func() (net.Conn, error) { return half(l, c.purpose)(ctx, "of the plugin") })
			l.meeting.eventually(t, 1, 1)
			l.End()
			if r := streamtest.Receive(t, "the host's half", host); r.Value != nil || r.Err == nil {
				t.Errorf("the host got %v, %v; want an error", r.Value, r.Err)
			}
			if r := streamtest.Receive(t, "the plugin's half", plugin); r.Value != nil || !errors.Is(r.Err, net.ErrClosed) {
				t.Errorf("the plugin got %v, %v; want %v", r.Value, r.Err, net.ErrClosed)
			}
			if conn, err := half(l, c.purpose)(ctx, "later"); conn != nil || !errors.Is(err, net.ErrClosed) {
				t.Errorf("after End: %v, %v; want %v", conn, err, net.ErrClosed)
			}
			if conn, err := s.Named(ctx, c.purpose, "later"); conn != nil || err == nil {
				t.Errorf("the host after End: %v, %v; want an error", conn, err)
			}
			l.meeting.eventually(t, 0, 0)
			l.End() // a second one does nothing
		})
	}
}

// TestEndLeavesStreamsThatHaveMet ends a direct session. Its streams that have met go on.
func TestEndLeavesStreamsThatHaveMet(t *testing.T) {
	s, l := connect(t, handshake.SessionDirect)
	m := meet(t, s, l, Offered, "n")
	l.End()
	streamtest.CheckPassing(t, m.host, m.plugin)
}

func TestNamedRefuses(t *testing.T) {
	tooLong := strings.Repeat("n", maxName+1)
	const wantLong = "stream name of 256 bytes, at most 255 are allowed"
	s, l := connect(t, handshake.SessionDirect)
	for _, purpose := range []Purpose{Offered, Awaited} {
		for side, open := range map[string]func(context.Context, string) (net.Conn, error){
			"host":   func(ctx context.Context, name string) (net.Conn, error) { return s.Named(ctx, purpose, name) },
			"plugin": half(l, purpose),
		} {
			if conn, err := open(streamtest.Bounded(t), tooLong); conn != nil || err == nil || !strings.Contains(err.Error(), wantLong) {
				t.Errorf("%s: %v, %v; want %s", side, conn, err, wantLong)
			}
		}
	}

	s, l = connect(t, handshake.SessionDirect, func(host *Config, plugin *ListenerConfig) { host.Foreign, plugin.Foreign = true, true })
	for side, open := range map[string]func(context.Context, string) (net.Conn, error){
		"plugin": func(ctx context.Context, name string) (net.Conn, error) { return s.Named(ctx, Offered, name) },
		"host":   half(l, Offered),
	} {
		want := "the " + side + " is of another framework, which has no named streams"
		if conn, err := open(streamtest.Bounded(t), "n"); conn != nil || err == nil || err.Error() != want {
			t.Errorf("%v, %v; want %s", conn, err, want)
		}
	}
}
