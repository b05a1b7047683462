package quic

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/plugwire/plugwire/core/transport"
)

// pair returns both ends of a stream of a session.
func (p *plugin) pair(t *testing.T) (host, plugin transport.Multiplexer) {
	t.Helper()
	opened, accepted := p.open(t, p.session(t))
	return opened.(transport.Multiplexer), accepted.(transport.Multiplexer)
}

// openCall opens a stream, and accepts it at the other end.
func openCall(t *testing.T, from, to transport.Multiplexer) (opened, accepted transport.CancelableStream) {
	t.Helper()
	opened, err := from.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if accepted, err = to.AcceptStream(ctx); err != nil {
		t.Fatal(err)
	}
	return opened, accepted
}

// onBothSides runs a test for streams that the host opens, and for those of the plugin.
func onBothSides(t *testing.T, test func(t *testing.T, from, to transport.Multiplexer)) {
	t.Helper()
	t.Run("host", func(t *testing.T) {
		host, plugin := listen(t, nil).pair(t)
		test(t, host, plugin)
	})
	t.Run("plugin", func(t *testing.T) {
		host, plugin := listen(t, nil).pair(t)
		test(t, plugin, host)
	})
}

func TestCallStreams(t *testing.T) {
	onBothSides(t, func(t *testing.T, from, to transport.Multiplexer) {
		t.Helper()
		for range 3 {
			opened, accepted := openCall(t, from, to)
			exchange(t, opened, accepted)
			if err := opened.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := readByte(accepted); !errors.Is(err, io.EOF) {
				t.Errorf("Read after Close of the other end: %v, want %v", err, io.EOF)
			}
			_ = wait(t, "the end", start(func() error { <-accepted.Context().Done(); return nil }))
			if err := accepted.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestCancelCallStream(t *testing.T) {
	onBothSides(t, func(t *testing.T, from, to transport.Multiplexer) {
		t.Helper()
		opened, accepted := openCall(t, from, to)
		reading := start(func() error { _, err := readByte(opened); return err })
		opened.Cancel(77)
		if err := wait(t, "Read", reading); err == nil {
			t.Error("Read of a stream that was canceled succeeds")
		}
		if _, err := readByte(accepted); !isCanceled(err, 77) {
			t.Errorf("Read at the other end: %v, want code 77", err)
		}
		_ = wait(t, "the end", start(func() error { <-accepted.Context().Done(); return nil }))
		if _, err := accepted.Write([]byte{1}); !isCanceled(err, 77) {
			t.Errorf("Write at the other end: %v, want code 77", err)
		}
	})
}

func isCanceled(err error, code uint32) bool {
	canceled, ok := errors.AsType[*transport.CanceledError](err)
	return ok && canceled.Code == code
}

// One stream more than the limit is refused at once, and not when another one ends.
func TestCallStreamLimit(t *testing.T) {
	const few = 20
	host, _ := listen(t, func(l *limits) { l.streams = few }).pair(t)
	for range few - 1 { // one is open
		if _, err := host.OpenStream(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := host.OpenStream(); !errors.Is(err, transport.ErrStreamLimit) {
		t.Errorf("OpenStream with %d streams open: %v", few, err)
	}
}

// Streams for calls are accepted after the end of the listener, until the connection ends.
func TestCallStreamsOutliveListener(t *testing.T) {
	p := listen(t, nil)
	host, plugin := p.pair(t)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	opened, accepted := openCall(t, host, plugin)
	exchange(t, opened, accepted)
}

// With other wires nobody accepts streams for calls. They are refused after a while, and so
// are those that say nothing.
func TestCallStreamNobodyAccepts(t *testing.T) {
	p := listen(t, func(l *limits) { l.firstByte = 50 * time.Millisecond })
	conn := p.rawGreeted(t)
	for _, str := range []*quic.Stream{rawStream(t, conn), rawStream(t, conn, callByte)} {
		result := start(func() error { _, err := readByte(str); return err })
		if err := wait(t, "Read", result); err == nil {
			t.Error("the stream is open")
		}
	}
}

// The end of the connection ends OpenStream and AcceptStream at both ends.
func TestCallStreamsEndWithConnection(t *testing.T) {
	p := listen(t, nil)
	s := p.session(t)
	opened, accepted := p.open(t, s)
	host, plugin := opened.(transport.Multiplexer), accepted.(transport.Multiplexer)
	accept := func(m transport.Multiplexer) <-chan error {
		return start(func() error { _, err := m.AcceptStream(context.Background()); return err })
	}
	ofHost, ofPlugin := accept(host), accept(plugin)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, result := range map[string]<-chan error{"host": ofHost, "plugin": ofPlugin} {
		if err := wait(t, "AcceptStream", result); !errors.Is(err, net.ErrClosed) {
			t.Errorf("AcceptStream of the %s: %v, want %v", name, err, net.ErrClosed)
		}
	}
	for name, m := range map[string]transport.Multiplexer{"host": host, "plugin": plugin} {
		if _, err := m.OpenStream(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("OpenStream of the %s: %v, want %v", name, err, net.ErrClosed)
		}
	}
}
