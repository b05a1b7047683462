package session

import (
	"bytes"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/mux"
	"github.com/plugwire/plugwire/core/internal/streamtest"
)

// flooder is a host that opens yamux streams and closes none of them.
type flooder struct {
	t       *testing.T
	conn    net.Conn
	session *yamux.Session
}

func newFlooder(t *testing.T, change func(*ListenerConfig)) (*flooder, *Listener) {
	t.Helper()
	host, ln, plugin := socketConfigs(t, handshake.SessionYamux)
	change(&plugin)
	l := NewListener(ln, plugin)
	t.Cleanup(l.End)
	conn, err := net.Dial("unix", host.Dial.Address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (Preamble{Purpose: Carrier}).WriteTo(conn); err != nil {
		t.Fatal(err)
	}
	cfg := mux.Config()
	cfg.ConnectionWriteTimeout = streamtest.Hang
	session, err := yamux.Client(conn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { streamtest.CheckClose(t, session) })
	return &flooder{t, conn, session}, l
}

// open opens a stream and writes data to it. It fails once the session has ended.
func (f *flooder) open(data []byte) (*yamux.Stream, error) {
	s, err := f.session.OpenStream()
	if err == nil {
		_, err = s.Write(data)
	}
	return s, err
}

// TestParkedStreamsHoldLittle plays a host that opens named streams, fills each up to its
// window, and closes none, whatever the plugin says.
func TestParkedStreamsHoldLittle(t *testing.T) {
	const streams = 1200
	f, l := newFlooder(t, func(*ListenerConfig) {})
	var data bytes.Buffer
	if _, err := (Preamble{Purpose: Offered, Name: "n"}).WriteTo(&data); err != nil {
		t.Fatal(err)
	}
	data.Write(make([]byte, 100<<10)) // less than the first window, so the plugin need not read
	before := inUse()
	for range streams {
		if _, err := f.open(data.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	// The plugin still works: it accepts one more stream.
	waiting := streamtest.Go(func() (net.Conn, error) { return l.AcceptNamed(streamtest.Bounded(t), "", "last") })
	var last bytes.Buffer
	_, _ = Preamble{Purpose: Offered, Name: "last"}.WriteTo(&last)
	s, err := f.open(last.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := awaitMeeting(s); err != nil {
		t.Fatal(err)
	}
	r := streamtest.Receive(t, "the plugin", waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	streamtest.CheckClose(t, r.Value)
	// The memory shrinks as the plugin discards the streams.
	var grown int64
	for deadline := time.Now().Add(streamtest.Hang); ; time.Sleep(10 * time.Millisecond) {
		if grown = inUse() - before; grown < 60<<20 || time.Now().After(deadline) {
			break
		}
	}
	if grown >= 60<<20 {
		t.Errorf("the memory in use has grown by %d MiB", grown>>20)
	}
}

func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// TestFloodOfStreams plays a host that leaves all of its streams open. The session ends, and
// the log says why.
func TestFloodOfStreams(t *testing.T) {
	var log lockedBuffer
	f, _ := newFlooder(t, func(cfg *ListenerConfig) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	var data bytes.Buffer
	if _, err := (Preamble{Purpose: Offered, Name: "n"}).WriteTo(&data); err != nil {
		t.Fatal(err)
	}
	opened := 0
	for ; opened < 4*mux.MaxStreams; opened++ {
		if _, err := f.open(data.Bytes()); err != nil {
			break
		}
	}
	if opened == 4*mux.MaxStreams {
		t.Fatalf("%d streams are open", opened)
	}
	if opened < 2*mux.MaxStreams {
		t.Errorf("the session ended after %d streams, want more than %d", opened, 2*mux.MaxStreams)
	}
	await(t, "the log does not say why", func() bool { return strings.Contains(log.String(), "holds more than 4096 streams") })
}

// lockedBuffer is a buffer that several goroutines may use.
type lockedBuffer struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
