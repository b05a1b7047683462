package host

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

// recorded is a connection to a plugin whose GRPCStdio sends these bytes: messages,
// each after two bytes of its length. Then comes end.
type recorded struct {
	grpc.ClientConnInterface
	data []byte
	end  error
}

func (r recorded) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return &recordedStream{left: r.data, end: r.end}, nil
}

type recordedStream struct {
	grpc.ClientStream
	left []byte
	end  error
}

func (*recordedStream) SendMsg(any) error { return nil }
func (*recordedStream) CloseSend() error  { return nil }

func (s *recordedStream) RecvMsg(m any) error {
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

// TestFetch has what a plugin sends go where it belongs, and tells a plugin that
// ends, or has no such service, from one that misbehaves.
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
		lost, err := fetch(t.Context(), recorded{data: data, end: tt.end}, &stdout, &stderr)
		if lost != (status.Code(tt.end) == codes.Unavailable) || status.Code(err) != tt.want || stdout.String() != "out!" || stderr.String() != "err" {
			t.Errorf("after %v: %v, stdout %q, stderr %q", tt.end, err, &stdout, &stderr)
		}
	}
}

// TestOutputOfTheDeadFetched has a slow log handler not hold up the end of a plugin
// that has sent a lot, of which nothing is lost but records.
func TestOutputOfTheDeadFetched(t *testing.T) {
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
		o := fetchOutput(logger, copies{stdout: &stdout}, recorded{data: data, end: io.EOF}, nil)
		o.drain()
		if took := time.Since(began); took > drainTimeout+5*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		<-o.read
		if stdout.Len() != count*len(piece) || !strings.Contains(last, "the log handler was too slow") {
			t.Errorf("%d bytes of %d came, and the last record is %q", stdout.Len(), count*len(piece), last)
		}
	})
}

// FuzzFetch takes in anything, and passes on no more than came.
func FuzzFetch(f *testing.F) {
	f.Add(record(f, &messages.StdioData{Channel: messages.Stdout, Data: []byte("x")}))
	f.Add([]byte("\x00\x02\x08\x03\x00\x04\x12\x80\x80\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var stdout, stderr bytes.Buffer
		_, _ = fetch(t.Context(), recorded{data: data, end: io.EOF}, &stdout, &stderr) // that it returns is what counts
		if got := stdout.Len() + stderr.Len(); got > len(data) {
			t.Errorf("%d bytes came of %d", got, len(data))
		}
	})
}
