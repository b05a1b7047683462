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
	ctx := bounded(t)
	host := start(func() (net.Conn, error) { return s.Named(ctx, purpose, name) })
	plugin, err := half(l, purpose)(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	r := receive(t, "the host's half", host)
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { checkClose(t, r.value, plugin) })
	return ends{r.value, plugin}
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
	ctx := bounded(t)
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
			ctx := bounded(t)
			host := start(func() (net.Conn, error) { return s.Named(ctx, c.purpose, "host first") })
			l.meeting.eventually(t, 1, 0)
			if len(host) > 0 {
				t.Fatal("the host did not wait for the plugin")
			}
			plugin, err := half(l, c.purpose)(ctx, "host first")
			if err != nil {
				t.Fatal(err)
			}
			defer plugin.Close()
			first := receive(t, "the host's half", host)
			if first.err != nil {
				t.Fatal(first.err)
			}
			defer first.value.Close()
			checkPassing(t, first.value, plugin)

			waiting := start(func() (net.Conn, error) { return half(l, c.purpose)(ctx, "plugin first") })
			l.meeting.eventually(t, 0, 1)
			if len(waiting) > 0 {
				t.Fatal("the plugin did not wait for the host")
			}
			second, err := s.Named(ctx, c.purpose, "plugin first")
			if err != nil {
				t.Fatal(err)
			}
			defer second.Close()
			r := receive(t, "the plugin's half", waiting)
			if r.err != nil {
				t.Fatal(r.err)
			}
			defer r.value.Close()
			checkPassing(t, second, r.value)
			checkPassing(t, first.value, plugin)
			l.meeting.eventually(t, 0, 0)
		})
	}
}

// TestNamedTellsNamesAndPurposesApart opens streams of several names and both purposes.
func TestNamedTellsNamesAndPurposesApart(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			s, l := connect(t, kind)
			ctx := bounded(t)
			all := []Preamble{{Purpose: Offered, Name: "a"}, {Purpose: Offered, Name: "b"}, {Purpose: Awaited, Name: "a"}, {Purpose: Awaited, Name: ""}, {Purpose: Offered, Name: strings.Repeat("n", maxName)}}
			host := make(map[Preamble]<-chan result[net.Conn])
			for i, p := range all {
				host[p] = start(func() (net.Conn, error) { return s.Named(ctx, p.Purpose, p.Name) })
				l.meeting.eventually(t, i+1, 0)
			}
			for _, p := range all {
				plugin, err := half(l, p.Purpose)(ctx, p.Name)
				if err != nil {
					t.Fatal(err)
				}
				defer plugin.Close()
				r := receive(t, fmt.Sprintf("%+v", p), host[p])
				if r.err != nil {
					t.Fatal(r.err)
				}
				defer r.value.Close()
				checkPassing(t, r.value, plugin)
			}
		})
	}
}

func TestNamedKeepsTheOrderOfOneName(t *testing.T) {
	const several = 5
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			s, l := connect(t, c.kind)
			ctx := bounded(t)
			var host, plugin []<-chan result[net.Conn]
			for i := range several {
				host = append(host, start(func() (net.Conn, error) { return s.Named(ctx, c.purpose, "n") }))
				l.meeting.eventually(t, i+1, 0)
			}
			for range several {
				conn, err := half(l, c.purpose)(ctx, "n")
				plugin = append(plugin, start(func() (net.Conn, error) { return conn, err }))
			}
			for i := range several {
				h, p := receive(t, "host", host[i]), receive(t, "plugin", plugin[i])
				if err := errors.Join(h.err, p.err); err != nil {
					t.Fatal(err)
				}
				checkPassing(t, h.value, p.value)
				checkClose(t, h.value, p.value)
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
					waiting := start(func() (net.Conn, error) { return open(ctx, "n") })
					if name == "host" {
						l.meeting.eventually(t, 1, 0)
					} else {
						l.meeting.eventually(t, 0, 1)
					}
					cancel(errGivenUp)
					if r := receive(t, "the half that was given up", waiting); r.value != nil || !errors.Is(r.err, errGivenUp) {
						t.Errorf("got %v, %v; want the context's cause", r.value, r.err)
					}
					l.meeting.eventually(t, 0, 0)
					if conn, err := open(ctx, "n"); conn != nil || !errors.Is(err, errGivenUp) && !errors.Is(err, context.Canceled) {
						t.Errorf("with a context that has ended: %v, %v; want its error or cause", conn, err)
					}
					l.meeting.eventually(t, 0, 0)
					m := meet(t, s, l, c.purpose, "n")
					checkPassing(t, m.host, m.plugin)
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
			ctx := bounded(t)
			leave := func(ctx context.Context) (net.Conn, error) { return s.Named(ctx, c.purpose, "n") }
			stay := func(ctx context.Context) (net.Conn, error) { return half(l, c.purpose)(ctx, "n") }
			for i := range rounds {
				leave, stay = stay, leave
				short, cancel := context.WithTimeout(ctx, time.Duration(i)*5*time.Microsecond)
				left := start(func() (net.Conn, error) { return leave(short) })
				stayed := start(func() (net.Conn, error) { return stay(ctx) })
				other := receive(t, "the side that gives up", left)
				cancel()
				var next <-chan result[net.Conn]
				if other.err != nil {
					next = start(func() (net.Conn, error) { return leave(ctx) })
				}
				mine := receive(t, "the side that stays", stayed)
				if mine.err != nil {
					if other.err == nil {
						t.Fatalf("one side has a stream, the other %v", mine.err)
					}
					mine = receive(t, "the side that stays, again", start(func() (net.Conn, error) { return stay(ctx) }))
				}
				if mine.err != nil {
					t.Fatal(mine.err)
				}
				if next != nil {
					mine.value, other = meetNext(t, mine.value, next, func() (net.Conn, error) { return stay(ctx) })
				}
				checkPassing(t, mine.value, other.value)
				checkClose(t, mine.value, other.value)
			}
			l.meeting.eventually(t, 0, 0)
		})
	}
}

// meetNext finds out whether mine meets the next half or ends at once. In the second case
// again opens another.
func meetNext(t *testing.T, mine net.Conn, next <-chan result[net.Conn], again func() (net.Conn, error)) (net.Conn, result[net.Conn]) {
	t.Helper()
	read := start(func() (int, error) { return mine.Read(make([]byte, 1)) })
	select {
	case other := <-next:
		if other.err != nil {
			t.Fatal(other.err)
		}
		if _, err := other.value.Write([]byte{0}); err != nil {
			t.Fatal(err)
		}
		if r := receive(t, "a byte", read); r.err != nil {
			t.Fatal(r.err)
		}
		return mine, other
	case r := <-read:
		if r.err == nil {
			t.Fatal("a byte came from a side that has given up")
		}
		checkClose(t, mine)
		mine, err := again()
		if err != nil {
			t.Fatal(err)
		}
		other := receive(t, "the next", next)
		if other.err != nil {
			t.Fatal(other.err)
		}
		return mine, other
	case <-time.After(hang):
		t.Fatal("the stream neither met the next one nor ended")
		return nil, result[net.Conn]{}
	}
}

// rawHost opens a named stream without Named, and returns when the plugin has parked it.
func rawHost(t *testing.T, s *Session, l *Listener, p Preamble) net.Conn {
	t.Helper()
	before, _, _ := l.meeting.counts()
	conn, err := s.Open(bounded(t), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkClose(t, conn) })
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
			checkPassing(t, m.host, m.plugin)
		})
	}
}

// TestHostThatAnswersWrongly plays a host that answers with the wrong byte. The plugin meets the
// next stream instead.
func TestHostThatAnswersWrongly(t *testing.T) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			s, l := connect(t, c.kind)
			ctx := bounded(t)
			wrong := rawHost(t, s, l, Preamble{Purpose: c.purpose, Name: "n"})
			right := start(func() (net.Conn, error) { return s.Named(ctx, c.purpose, "n") })
			l.meeting.eventually(t, 2, 0)
			plugin := start(func() (net.Conn, error) { return half(l, c.purpose)(ctx, "n") })
			var b [1]byte
			if _, err := io.ReadFull(wrong, b[:]); err != nil || b[0] != byteMet {
				t.Fatalf("read %d, %v; want to be told that the two have met", b[0], err)
			}
			if _, err := wrong.Write([]byte{byteMet + 1}); err != nil {
				t.Fatal(err)
			}
			checkEnded(t, wrong)
			r, p := receive(t, "the host", right), receive(t, "the plugin", plugin)
			if err := errors.Join(r.err, p.err); err != nil {
				t.Fatal(err)
			}
			defer r.value.Close()
			defer p.value.Close()
			checkPassing(t, r.value, p.value)
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
		plugin := start(func() (net.Conn, error) { return l.AcceptNamed(ctx, "", "n") })
		if _, err := io.ReadFull(host, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		checkEnded(t, host)
		if took := time.Since(began); took != AdmitTimeout {
			t.Errorf("it was dropped after %v, want %v", took, AdmitTimeout)
		}
		if r := <-plugin; r.value != nil || !errors.Is(r.err, context.DeadlineExceeded) {
			t.Errorf("got %v, %v; want to wait for another until the context ends", r.value, r.err)
		}
		l.End()
		checkClose(t, host)
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
				plugin := start(func() (net.Conn, error) { return l.OpenNamed(ctx, "", "n") })
				if _, err := io.ReadFull(host, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if name == "End" {
					l.End()
				} else {
					cancel(errGivenUp)
				}
				if r := <-plugin; r.value != nil || !errors.Is(r.err, want) {
					t.Errorf("got %v, %v; want %v", r.value, r.err, want)
				}
				checkEnded(t, host)
				cancel(nil)
				l.End()
				checkClose(t, host)
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
			answered := start(func() (net.Conn, error) {
				conn := <-p.conns
				_, err := ReadPreamble(conn)
				return conn, errors.Join(err, tt.plugin(conn))
			})
			conn, err := direct(t, p, false).Named(bounded(t), Offered, "n")
			if conn != nil || err == nil || err.Error() != tt.want {
				t.Errorf("got %v, %v; want %s", conn, err, tt.want)
			}
			r := receive(t, "the plugin", answered)
			if r.err != nil {
				t.Error(r.err)
			}
			checkClose(t, r.value)
		})
	}
}

// TestParkedStreamsAreBounded parks as many streams as may wait. The host learns that the next
// is one too many. The plugin can still take streams.
func TestParkedStreamsAreBounded(t *testing.T) {
	s, l := connect(t, handshake.SessionYamux) // a connection each would need as many descriptors
	ctx := bounded(t)
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
	waiting := start(func() (net.Conn, error) { return l.AcceptNamed(ctx, "", "another") })
	l.meeting.eventually(t, maxParked, 1)
	host, err := s.Named(ctx, Offered, "another")
	if err != nil {
		t.Fatal(err)
	}
	plugin := receive(t, "the plugin", waiting)
	if plugin.err != nil {
		t.Fatal(plugin.err)
	}
	checkPassing(t, host, plugin.value)
	checkClose(t, host, plugin.value)

	taken, err := l.AcceptNamed(ctx, "", "n")
	if err != nil {
		t.Fatal(err)
	}
	checkClose(t, taken)
	if err := receive(t, "the stream that was taken", ended); err != nil {
		t.Error(err)
	}
	l.meeting.eventually(t, maxParked-1, 0)
	cancel()
	for range maxParked - 1 {
		if err := receive(t, "a stream that was given up", ended); !errors.Is(err, context.Canceled) {
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
			ctx := bounded(t)
			host := start(func() (net.Conn, error) { return s.Named(ctx, c.purpose, "of the host") })
			l.meeting.eventually(t, 1, 0)
			plugin := start(func() (net.Conn, error) { return half(l, c.purpose)(ctx, "of the plugin") })
			l.meeting.eventually(t, 1, 1)
			l.End()
			if r := receive(t, "the host's half", host); r.value != nil || r.err == nil {
				t.Errorf("the host got %v, %v; want an error", r.value, r.err)
			}
			if r := receive(t, "the plugin's half", plugin); r.value != nil || !errors.Is(r.err, net.ErrClosed) {
				t.Errorf("the plugin got %v, %v; want %v", r.value, r.err, net.ErrClosed)
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
	checkPassing(t, m.host, m.plugin)
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
			if conn, err := open(bounded(t), tooLong); conn != nil || err == nil || !strings.Contains(err.Error(), wantLong) {
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
		if conn, err := open(bounded(t), "n"); conn != nil || err == nil || err.Error() != want {
			t.Errorf("%v, %v; want %s", conn, err, want)
		}
	}
}
