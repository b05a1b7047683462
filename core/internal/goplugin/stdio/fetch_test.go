package stdio

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec of calls
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/goplugin/messages"
)

// recording is a connection to a plugin whose GRPCStdio sends data, which is messages with
// two bytes of length before each. The stream then ends with end.
type recording struct {
	grpc.ClientConnInterface
	data []byte
	end  error
}

func (r recording) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return &recordingStream{left: r.data, end: r.end}, nil
}

type recordingStream struct {
	grpc.ClientStream
	left []byte
	end  error
}

func (*recordingStream) SendMsg(any) error { return nil }
func (*recordingStream) CloseSend() error  { return nil }

func (s *recordingStream) RecvMsg(m any) error {
	if len(s.left) < 2 {
		return s.end
	}
	n := min(int(binary.BigEndian.Uint16(s.left)), len(s.left)-2)
	message := s.left[2 : 2+n]
	s.left = s.left[2+n:]
	return encoding.GetCodecV2("proto").Unmarshal(mem.BufferSlice{mem.SliceBuffer(message)}, m)
}

func record(tb testing.TB, messages ...*messages.StdioData) []byte {
	tb.Helper()
	var all []byte
	for _, m := range messages {
		encoded, err := encoding.GetCodecV2("proto").Marshal(m)
		if err != nil {
			tb.Fatal(err)
		}
		b := encoded.Materialize()
		all = append(binary.BigEndian.AppendUint16(all, uint16(len(b))), b...)
	}
	return all
}

// TestFetch fetches from plugins that send on every channel. Those that end, or have no such
// service, are told from those that misbehave.
func TestFetch(t *testing.T) {
	data := record(t,
		&messages.StdioData{Channel: messages.Stdout, Data: []byte("out")},
		&messages.StdioData{Channel: 3, Data: []byte("nowhere")},
		&messages.StdioData{Channel: messages.Stderr, Data: []byte("err")},
		&messages.StdioData{Channel: messages.Stdout},
		&messages.StdioData{Data: []byte("nowhere")},
		&messages.StdioData{Channel: messages.Stdout, Data: []byte("!")})
	for _, tt := range []struct {
		end  error
		want codes.Code
	}{
		{io.EOF, codes.OK},
		{status.Error(codes.Unimplemented, ""), codes.OK},
		{status.Error(codes.Unavailable, ""), codes.OK},
		{status.Error(codes.Canceled, ""), codes.OK},
		{status.Error(codes.ResourceExhausted, ""), codes.ResourceExhausted},
		{errors.New("nonsense"), codes.Unknown},
	} {
		var stdout, stderr bytes.Buffer
		lost, err := fetch(t.Context(), recording{data: data, end: tt.end}, &stdout, &stderr, nil, func() {})
		if lost != (status.Code(tt.end) == codes.Unavailable) || status.Code(err) != tt.want || stdout.String() != "out!" || stderr.String() != "err" {
			t.Errorf("after %v: %v, stdout %q, stderr %q", tt.end, err, &stdout, &stderr)
		}
	}
}

// TestDrainWithASlowLogger drains much output that a slow log handler delays. Drain ends all
// the same, and only log records are lost.
func TestDrainWithASlowLogger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count = 200
		piece := strings.Repeat("line\n", 1000)
		var data []byte
		for range count {
			data = append(data, record(t, &messages.StdioData{Channel: messages.Stdout, Data: []byte(piece)})...)
		}
		var stdout bytes.Buffer
		var last string
		logger := slog.New(handlerFunc(func(message string) {
			time.Sleep(time.Millisecond)
			last = message
		}))
		began := time.Now()
		f := Fetch(recording{data: data, end: io.EOF}, FetchConfig{Logger: logger, Stdout: &stdout})
		const patience = 5 * time.Second
		f.Drain(patience, time.Second)
		if took := time.Since(began); took > patience+5*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		<-f.done
		if stdout.Len() != count*len(piece) || !strings.Contains(last, "the log handler was too slow") {
			t.Errorf("%d bytes of %d came, and the last record is %q", stdout.Len(), count*len(piece), last)
		}
	})
}

// endedConn is a connection to a plugin that has ended. Its first stream ends with the
// connection. The dial for another one never ends.
type endedConn struct {
	grpc.ClientConnInterface
	asked *int
	end   func() // the process ends
}

func (c endedConn) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	*c.asked++
	if *c.asked == 1 {
		return &recordingStream{end: status.Error(codes.Unavailable, "the connection was lost")}, nil
	}
	c.end()
	<-ctx.Done()
	return nil, status.FromContextError(ctx.Err()).Err()
}

// TestFetchOfEndedPlugin fetches again before the host knows that the process has ended.
func TestFetchOfEndedPlugin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exited := make(chan struct{})
		asked := 0
		conn := endedConn{asked: &asked, end: func() { close(exited) }}
		began := time.Now()
		if err := fetchAll(t.Context(), conn, io.Discard, io.Discard, exited, func() {}); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); asked != 2 || took != minRefetch {
			t.Errorf("the host asked %d times in %v, want 2 in %v", asked, took, minRefetch)
		}
	})
}

// FuzzFetch reads random messages. It never writes more bytes than came.
func FuzzFetch(f *testing.F) {
	f.Add(record(f, &messages.StdioData{Channel: messages.Stdout, Data: []byte("x")}))
	f.Add([]byte("\x00\x02\x08\x03\x00\x04\x12\x80\x80\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var stdout, stderr bytes.Buffer
		_, _ = fetch(t.Context(), recording{data: data, end: io.EOF}, &stdout, &stderr, nil, func() {}) // it has to return, whatever the result
		if got := stdout.Len() + stderr.Len(); got > len(data) {
			t.Errorf("%d bytes were written of %d", got, len(data))
		}
	})
}

// handlerFunc is a log handler that gets messages only.
type handlerFunc func(message string)

func (handlerFunc) Enabled(context.Context, slog.Level) bool { return true }
func (f handlerFunc) Handle(_ context.Context, r slog.Record) error {
	f(r.Message)
	return nil
}
func (f handlerFunc) WithAttrs([]slog.Attr) slog.Handler { return f }
func (f handlerFunc) WithGroup(string) slog.Handler      { return f }
