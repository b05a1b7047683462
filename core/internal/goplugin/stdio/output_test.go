package stdio

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plugwire/plugwire/core/internal/goplugin/messages"
)

// reader is the stream of a host, which reads one message for each item of turn.
type reader struct {
	ctx  context.Context //nolint:containedctx // the stream's own, as in grpc
	turn chan struct{}
	got  [3]bytes.Buffer // by channel
}

func (r *reader) Context() context.Context { return r.ctx }
func (r *reader) RecvMsg(any) error        { return nil }

func (r *reader) SendMsg(m any) error {
	select {
	case <-r.turn:
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
	data := m.(*messages.StdioData)
	r.got[data.Channel].Write(data.Data)
	return nil
}

// attach makes a host fetch. An eager host is always ready; another reads at each turn.
func attach(t *testing.T, o *Output, eager bool) (r *reader, leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r = &reader{ctx: ctx, turn: make(chan struct{})}
	if eager {
		close(r.turn)
	}
	done := make(chan error, 1)
	go func() { done <- o.Stream(r) }()
	synctest.Wait()
	return r, func() {
		cancel()
		<-done
	}
}

// TestOutput fetches what was printed before the host came, and after.
func TestOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := NewOutput()
		for _, c := range "before " {
			o.Put(messages.Stdout, []byte(string(c)))
		}
		r, leave := attach(t, o, true)
		large := strings.Repeat("x", 3*maxChunk+1)
		o.Put(messages.Stderr, []byte("oh "))
		o.Put(messages.Stdout, []byte("after "))
		o.Put(messages.Stderr, []byte(large))
		o.Flush(t.Context())
		leave()
		if got := r.got[messages.Stdout].String(); got != "before after " {
			t.Errorf("stdout %q", got)
		}
		if got := r.got[messages.Stderr].String(); got != "oh "+large {
			t.Errorf("stderr of %d bytes, want %d", len(got), len("oh "+large))
		}
		o.Put(messages.Stdout, []byte("late"))
		o.Flush(t.Context()) // no host fetches, so it does not wait
		if rest := o.Rest(); len(rest) != 1 || string(rest[0].Data) != "late" {
			t.Errorf("the rest is %v", rest)
		}
	})
}

// TestOutputThatNobodyFetches prints without a host. Printing never blocks, and a host that
// comes late is told how much it has missed.
func TestOutputThatNobodyFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := NewOutput()
		began := time.Now()
		const pieces = 100
		piece := bytes.Repeat([]byte("y"), maxChunk)
		for range pieces {
			o.Put(messages.Stdout, piece)
		}
		o.Put(messages.Stdout, []byte("end"))
		if took := time.Since(began); took > 0 {
			t.Errorf("printing blocked for %v", took)
		}
		r, leave := attach(t, o, true)
		o.Flush(t.Context())
		leave()
		stdout := r.got[messages.Stdout].Len()
		if stdout > maxOutput || stdout < maxOutput-maxChunk || !bytes.HasSuffix(r.got[messages.Stdout].Bytes(), []byte("end")) {
			t.Errorf("%d bytes were kept, at most %d may be", stdout, maxOutput)
		}
		var told int
		if _, after, _ := strings.Cut(r.got[messages.Stderr].String(), "["); after != "" {
			for _, c := range after {
				if c < '0' || c > '9' {
					break
				}
				told = 10*told + int(c-'0')
			}
		}
		if want := pieces*maxChunk + len("end") - stdout; told != want {
			t.Errorf("%d bytes are told to be missing, %d are", told, want)
		}
	})
}

// TestOutputOfASlowHost prints faster than the host fetches. Nothing is lost while the host
// fetches at all. When the host stops fetching, printing blocks for a moment only.
func TestOutputOfASlowHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := NewOutput()
		r, leave := attach(t, o, false)
		piece := bytes.Repeat([]byte("z"), maxChunk)
		pieces := 2 * maxOutput / maxChunk
		printed := make(chan struct{})
		go func() {
			for range pieces {
				o.Put(messages.Stdout, piece)
			}
			close(printed)
		}()
		for range pieces {
			time.Sleep(slowHostPatience / 2)
			r.turn <- struct{}{}
		}
		<-printed
		synctest.Wait()
		if got := r.got[messages.Stdout].Len(); got != pieces*maxChunk || r.got[messages.Stderr].Len() > 0 {
			t.Errorf("%d bytes arrived of %d, and %q", got, pieces*maxChunk, &r.got[messages.Stderr])
		}
		began := time.Now()
		for range 2 * pieces {
			o.Put(messages.Stdout, piece)
		}
		if took := time.Since(began); took == 0 || took > slowHostPatience {
			t.Errorf("printing blocked %v on a host that fetches nothing", took)
		}
		flush, cancel := context.WithTimeout(t.Context(), time.Minute)
		o.Flush(flush)
		if flush.Err() == nil {
			t.Error("flushed")
		}
		cancel()
		leave()
	})
}

// TestFlushComing stops a plugin whose host has not begun to fetch: a host that comes soon gets
// everything, and one that never comes costs a moment only.
func TestFlushComing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := NewOutput()
		o.Put(messages.Stdout, []byte("last"))
		flushed := make(chan struct{})
		go func() {
			defer close(flushed)
			o.Flush(t.Context())
		}()
		time.Sleep(comingTime / 2)
		r, leave := attach(t, o, true)
		<-flushed
		leave()
		if got := r.got[messages.Stdout].String(); got != "last" {
			t.Errorf("the host got %q", got)
		}
		o.Put(messages.Stdout, []byte("lost"))
		began := time.Now()
		o.Flush(t.Context())
		if took := time.Since(began); took != comingTime {
			t.Errorf("without a host Flush took %v", took)
		}
	})
}
