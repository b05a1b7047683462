package handler_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/plugins/streaming/files"
	"github.com/plugwire/plugwire/plugins/streaming/handler"
	"github.com/plugwire/plugwire/plugins/streaming/streaming"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds a wait for something that happens soon, unless the machine is
// very busy.
const patience = 5 * time.Minute

// A service is a handler on a real connection, and the directory of its root.
type service struct {
	streaming.StreamingServiceClient
	plugin *host.Plugin
	dir    string
	log    *bytes.Buffer // log of the plugin; read it when the plugin has ended
}

func start(tb testing.TB, tr transport.Transport, opts ...files.Option) *service {
	tb.Helper()
	dir := tb.TempDir()
	store, err := files.Open(dir, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	var log bytes.Buffer
	p := plugintest.StartWith(tb, streaming.ServeStreamingService(handler.New(store)), tr, []plugin.Option{
		plugin.WithLogger(slog.New(slog.NewTextHandler(&log, nil))),
		plugin.WithMaxMessageSize(handler.MaxMessageSize),
		plugin.OnShutdown(func(context.Context) error { return store.Close() }),
	}, host.WithMaxMessageSize(4*handler.MaxMessageSize))
	return &service{streaming.NewStreamingServiceClient(p), p, dir, &log}
}

func (s *service) path(name string) string { return filepath.Join(s.dir, name) }

func (s *service) write(tb testing.TB, name string, data []byte) {
	tb.Helper()
	if err := os.WriteFile(s.path(name), data, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// left returns the names of everything in the root.
func (s *service) left(t *testing.T) string {
	t.Helper()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// download returns the data of a download, and checks its chunks.
func (s *service) download(t *testing.T, request *streaming.DownloadRequest) ([]byte, error) {
	t.Helper()
	stream, err := s.DownloadFile(t.Context(), request)
	if err != nil {
		return nil, err
	}
	var data []byte
	for sequence := int64(0); ; sequence++ {
		chunk, err := stream.Recv()
		if err != nil {
			return data, err
		}
		if chunk.GetSequence() != sequence || chunk.GetOffset() != request.GetOffset()+int64(len(data)) || (chunk.GetTotalBytes() != 0) != (sequence == 0 && chunk.GetTotalBytes() > 0) {
			t.Errorf("chunk %d: sequence %d, offset %d, total %d", sequence, chunk.GetSequence(), chunk.GetOffset(), chunk.GetTotalBytes())
		}
		data = append(data, chunk.GetData()...)
		if chunk.GetIsLast() {
			if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
				t.Errorf("%v follows the last chunk", err)
			}
			if request.GetOffset() == 0 && !bytes.Equal(chunk.GetSha256(), sumOf(data)) {
				t.Errorf("sum %x, want %x", chunk.GetSha256(), sumOf(data))
			}
			return data, nil
		}
	}
}

// upload sends chunks without a check.
func (s *service) upload(tb testing.TB, chunks ...*streaming.FileChunk) (*streaming.UploadResponse, error) {
	tb.Helper()
	stream, err := s.UploadFile(tb.Context())
	if err != nil {
		return nil, err
	}
	for _, chunk := range chunks {
		if err := stream.Send(chunk); err != nil {
			break // CloseAndRecv returns why
		}
	}
	return stream.CloseAndRecv()
}

// chunksOf returns the chunks that upload data from an offset.
func chunksOf(start *streaming.UploadStart, data []byte, offset, size int) []*streaming.FileChunk {
	var chunks []*streaming.FileChunk
	for first := true; first || offset < len(data); first = false {
		n := min(size, len(data)-offset)
		chunk := &streaming.FileChunk{Data: data[offset : offset+n], Sequence: int64(len(chunks)), Offset: int64(offset)}
		if first {
			chunk.Upload = start
		}
		chunks = append(chunks, chunk)
		offset += n
	}
	last := chunks[len(chunks)-1]
	last.IsLast, last.Sha256 = true, sumOf(data)
	return chunks
}

func random(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(data)
	return data
}

func sumOf(data []byte) []byte {
	sum := sha256.Sum256(data)
	return sum[:]
}

func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("error %v, want %v", err, want)
	}
	if message := status.Convert(err).Message(); strings.Contains(message, "rpc error") {
		t.Errorf("a status inside of a status: %s", message)
	}
}

func TestTransfersOverEachTransport(t *testing.T) {
	for _, tr := range []transport.Transport{unix.New(), tcp.New(), quic.New()} {
		t.Run(tr.Name(), func(t *testing.T) {
			s := start(t, tr)
			for _, size := range []int{0, 1, 1000, files.ChunkSize, 5*files.ChunkSize + 1} {
				want := random(size)
				name := fmt.Sprintf("dir/%d", size)
				response, err := s.upload(t, chunksOf(&streaming.UploadStart{FilePath: "./" + name, TotalBytes: int64(size)}, want, 0, 100_000)...)
				if err != nil {
					t.Fatal(err)
				}
				chunks := max(1, (size+99_999)/100_000)
				if response.GetFilePath() != name || response.GetTotalBytes() != int64(size) || int(response.GetTotalChunks()) != chunks ||
					!bytes.Equal(response.GetSha256(), sumOf(want)) || response.GetOffset() != 0 {
					t.Errorf("response %v to %d bytes in %d chunks", response, size, chunks)
				}
				got, err := s.download(t, &streaming.DownloadRequest{FilePath: name})
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes came back, %v; want %d", len(got), err, size)
				}
			}
		})
	}
}

func TestDownloadErrors(t *testing.T) {
	s := start(t, unix.New())
	s.write(t, "file", random(1000))
	for _, tt := range []struct {
		request *streaming.DownloadRequest
		want    codes.Code
	}{
		{&streaming.DownloadRequest{}, codes.InvalidArgument},
		{&streaming.DownloadRequest{FilePath: "absent"}, codes.NotFound},
		{&streaming.DownloadRequest{FilePath: "../file"}, codes.PermissionDenied},
		{&streaming.DownloadRequest{FilePath: "file", Offset: 1}, codes.InvalidArgument},
		{&streaming.DownloadRequest{FilePath: "file", Offset: 1, PrefixSha256: sumOf(nil)}, codes.Aborted},
	} {
		_, err := s.download(t, tt.request)
		wantCode(t, err, tt.want)
	}
	want := random(1000)
	got, err := s.download(t, &streaming.DownloadRequest{FilePath: "file", Offset: 700, PrefixSha256: sumOf(want[:700])})
	if err != nil || !bytes.Equal(got, want[700:]) {
		t.Errorf("%d bytes from 700, %v", len(got), err)
	}
}

// A caller's mistake leaves no files.
func TestUploadErrors(t *testing.T) {
	s := start(t, unix.New(), files.WithMaxSize(4<<20))
	s.write(t, "old", []byte("old"))
	data := random(30)
	good := func(path string) []*streaming.FileChunk {
		return chunksOf(&streaming.UploadStart{FilePath: path, UploadId: "id"}, data, 0, 10)
	}
	with := func(change func(chunks []*streaming.FileChunk)) []*streaming.FileChunk {
		chunks := good("new")
		change(chunks)
		return chunks
	}
	for _, tt := range []struct {
		name   string
		chunks []*streaming.FileChunk
		want   codes.Code
	}{
		{"no chunk", nil, codes.InvalidArgument},
		{"no upload", with(func(c []*streaming.FileChunk) { c[0].Upload = nil }), codes.InvalidArgument},
		{"upload again", with(func(c []*streaming.FileChunk) { c[1].Upload = c[0].GetUpload() }), codes.InvalidArgument},
		{"no path", good(""), codes.InvalidArgument},
		{"out of the root", good("../new"), codes.PermissionDenied},
		{"exists", good("old"), codes.AlreadyExists},
		{"first missing", good("new")[1:], codes.InvalidArgument},
		{"begins late", with(func(c []*streaming.FileChunk) { c[0].Sequence = 1 }), codes.InvalidArgument},
		{"gap", with(func(c []*streaming.FileChunk) { c[1], c[2] = c[2], c[1] }), codes.InvalidArgument},
		{"repeated", with(func(c []*streaming.FileChunk) { c[2] = c[1] }), codes.InvalidArgument},
		{"wrong offset", with(func(c []*streaming.FileChunk) { c[1].Offset = 11 }), codes.InvalidArgument},
		{"negative offset", with(func(c []*streaming.FileChunk) { c[0].Offset = -1 }), codes.InvalidArgument},
		{"after the last", with(func(c []*streaming.FileChunk) { c[1].IsLast, c[1].Sha256 = true, sumOf(data[:20]) }), codes.InvalidArgument},
		{"no last", good("new")[:2], codes.InvalidArgument},
		{"no checksum", with(func(c []*streaming.FileChunk) { c[2].Sha256 = nil }), codes.InvalidArgument},
		{"wrong checksum", with(func(c []*streaming.FileChunk) { c[2].Sha256 = sumOf(nil) }), codes.DataLoss},
		{"wrong data", with(func(c []*streaming.FileChunk) { c[1].Data = random(10) }), codes.DataLoss},
		{"chunk too large", with(func(c []*streaming.FileChunk) { c[0].Data = make([]byte, handler.MaxChunk+1) }), codes.InvalidArgument},
		{"message too large", with(func(c []*streaming.FileChunk) { c[0].Data = make([]byte, handler.MaxMessageSize) }), codes.ResourceExhausted},
		{"file too large", chunksOf(&streaming.UploadStart{FilePath: "new"}, random(4<<20+1), 0, handler.MaxChunk), codes.ResourceExhausted},
		{"announced too large", with(func(c []*streaming.FileChunk) { c[0].Upload.TotalBytes = 4<<20 + 1 }), codes.ResourceExhausted},
		{"other size", with(func(c []*streaming.FileChunk) { c[0].Upload.TotalBytes = 31 }), codes.InvalidArgument},
		{"goes on with nothing", with(func(c []*streaming.FileChunk) {
			c[0].Offset, c[0].Upload.PrefixSha256 = 5, sumOf(nil)
		}), codes.Aborted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := s.upload(t, tt.chunks...)
			t.Log(err)
			wantCode(t, err, tt.want)
			if left := s.left(t); left != "old" {
				t.Errorf("left: %s", left)
			}
		})
	}
	if _, err := s.upload(t, chunksOf(&streaming.UploadStart{FilePath: "max"}, random(4<<20), 0, handler.MaxChunk)...); err != nil {
		t.Errorf("the largest file in the largest chunks: %v", err)
	}
}

// A message that is too large is a mistake like others, although gRPC reports it,
// before the handler runs.
func TestUploadEndsWithAMessageTooLarge(t *testing.T) {
	s := start(t, unix.New())
	chunks := chunksOf(&streaming.UploadStart{FilePath: "new", UploadId: "id"}, random(30), 0, 10)
	chunks[1].Data = make([]byte, handler.MaxMessageSize)
	_, err := s.upload(t, chunks...)
	wantCode(t, err, codes.ResourceExhausted)
	waitFor(t, func() bool { return s.left(t) == "" })
}

// An upload whose caller goes away can be resumed if it has an id, and
// otherwise leaves no file.
func TestUploadInterrupted(t *testing.T) {
	s := start(t, unix.New())
	data := random(5 * files.ChunkSize)
	for _, id := range []string{"", "id"} {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := s.UploadFile(ctx)
		if err != nil {
			t.Fatal(err)
		}
		spec := &streaming.UploadStart{FilePath: "file", UploadId: id, TotalBytes: int64(len(data))}
		for _, chunk := range chunksOf(spec, data, 0, files.ChunkSize)[:3] {
			if err := stream.Send(chunk); err != nil {
				t.Fatal(err)
			}
		}
		// Wait until all of it is stored, which has no other sign.
		waitFor(t, func() bool { return s.staged(t) == 3*files.ChunkSize })
		cancel()
		waitFor(t, func() bool {
			st, err := s.GetStatus(t.Context(), &streaming.StatusRequest{})
			return err == nil && st.GetTransfers() == 0
		})
		if id == "" {
			if left := s.left(t); left != "" {
				t.Errorf("left: %s", left)
			}
			continue
		}
		got, err := s.GetUpload(t.Context(), &streaming.GetUploadRequest{FilePath: "file", UploadId: id})
		if err != nil || got.GetReceivedBytes() != 3*files.ChunkSize {
			t.Fatalf("%v is there, %v; want %d", got, err, 3*files.ChunkSize)
		}
		spec.PrefixSha256 = sumOf(data[:got.GetReceivedBytes()])
		response, err := s.upload(t, chunksOf(spec, data, int(got.GetReceivedBytes()), files.ChunkSize)...)
		if err != nil {
			t.Fatal(err)
		}
		if response.GetOffset() != 3*files.ChunkSize || response.GetTotalBytes() != int64(len(data)) || response.GetTotalChunks() != 2 {
			t.Errorf("response %v", response)
		}
		if got, err := os.ReadFile(s.path("file")); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes are there, %v", len(got), err)
		}
	}
	_, err := s.GetUpload(t.Context(), &streaming.GetUploadRequest{FilePath: "file"})
	wantCode(t, err, codes.InvalidArgument)
}

// staged returns the size of all unfinished uploads.
func (s *service) staged(t *testing.T) (size int64) {
	t.Helper()
	names, err := filepath.Glob(s.path(".plugwire-uploads/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			size += info.Size()
		}
	}
	return size
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}

func TestTooManyTransfers(t *testing.T) {
	s := start(t, unix.New())
	s.write(t, "file", random(1000))
	ctx, cancel := context.WithCancel(t.Context())
	for range 64 {
		if _, err := s.UploadFile(ctx); err != nil {
			t.Fatal(err)
		}
	}
	transfers := func() int32 {
		st, err := s.GetStatus(t.Context(), &streaming.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return st.GetTransfers()
	}
	waitFor(t, func() bool { return transfers() == 64 })
	_, err := s.download(t, &streaming.DownloadRequest{FilePath: "file"})
	wantCode(t, err, codes.ResourceExhausted)
	_, err = s.upload(t, chunksOf(&streaming.UploadStart{FilePath: "x"}, nil, 0, 1)...)
	wantCode(t, err, codes.ResourceExhausted)
	cancel()
	waitFor(t, func() bool { return transfers() == 0 })
	if _, err := s.download(t, &streaming.DownloadRequest{FilePath: "file"}); err != nil {
		t.Error(err)
	}
}

// A caller that goes away in the middle of a download ends it.
func TestDownloadCanceled(t *testing.T) {
	s := start(t, unix.New())
	s.write(t, "file", make([]byte, 64<<20)) // more than a connection can buffer
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := s.DownloadFile(ctx, &streaming.DownloadRequest{FilePath: "file"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	waitFor(t, func() bool {
		st, err := s.GetStatus(t.Context(), &streaming.StatusRequest{})
		return err == nil && st.GetTransfers() == 0
	})
}

func TestStatus(t *testing.T) {
	s := start(t, unix.New())
	st, err := s.GetStatus(t.Context(), &streaming.StatusRequest{})
	if err != nil || st.GetStatus() != "healthy" || st.GetVersion() != handler.Version || st.GetUptime() > 600 || st.GetTransfers() != 0 || st.GetParticipants() != 0 {
		t.Errorf("status %v, %v", st, err)
	}
}
