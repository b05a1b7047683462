package main

import (
	"bytes"
	"crypto/sha256"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/plugins/streaming/streaming"
	"github.com/plugwire/plugwire/transport/unix"
)

// A scriptedPlugin is a plugin that sends the chunks of the test.
type scriptedPlugin struct {
	streaming.StreamingServiceHandler

	chunks []*streaming.FileChunk
}

func (s *scriptedPlugin) DownloadFile(_ *streaming.DownloadRequest, stream grpc.ServerStreamingServer[streaming.FileChunk]) error {
	for _, chunk := range s.chunks {
		if err := stream.Send(chunk); err != nil {
			return err
		}
	}
	return nil
}

// The host checks everything that a plugin sends.
func TestGetFromAPluginThatIsWrong(t *testing.T) {
	sum := sha256.Sum256([]byte("abcdef"))
	const due, verified = "was due, of a file of", "the received "
	for _, tt := range []struct {
		name   string
		change func(chunks []*streaming.FileChunk) []*streaming.FileChunk
		want   string // part of the error; empty if there is none
		kept   int64  // size of the received data
	}{
		{"nothing", func(c []*streaming.FileChunk) []*streaming.FileChunk { return c }, "", 6},
		{"gap", func(c []*streaming.FileChunk) []*streaming.FileChunk { return append(c[:1], c[2]) }, due, 2},
		{"order", func(c []*streaming.FileChunk) []*streaming.FileChunk { c[1], c[2] = c[2], c[1]; return c }, due, 2},
		{"offset", func(c []*streaming.FileChunk) []*streaming.FileChunk { c[1].Offset = 3; return c }, due, 2},
		{"more than its size", func(c []*streaming.FileChunk) []*streaming.FileChunk { c[0].TotalBytes = 3; return c }, due, 2},
		{"negative size", func(c []*streaming.FileChunk) []*streaming.FileChunk { c[0].TotalBytes = -1; return c }, due, 0},
		{"chunks without data", func(c []*streaming.FileChunk) []*streaming.FileChunk { c[1].Data = nil; return c }, due, 2},
		{"no last", func(c []*streaming.FileChunk) []*streaming.FileChunk { return c[:2] }, "without a last chunk", 4},
		{"no chunk", func([]*streaming.FileChunk) []*streaming.FileChunk { return nil }, "without a last chunk", 0},
		{"more after the last", func(c []*streaming.FileChunk) []*streaming.FileChunk { return append(c, c[2]) }, "did not end after the last chunk", 6},
		{"less than its size", func(c []*streaming.FileChunk) []*streaming.FileChunk { c[0].TotalBytes = 7; return c }, verified, 0},
		{"other data", func(c []*streaming.FileChunk) []*streaming.FileChunk { c[1].Data = []byte("xx"); return c }, verified, 0},
		{"no checksum", func(c []*streaming.FileChunk) []*streaming.FileChunk { c[2].Sha256 = nil; return c }, verified, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plugin := &scriptedPlugin{chunks: tt.change([]*streaming.FileChunk{
				{Data: []byte("ab"), TotalBytes: 6},
				{Data: []byte("cd"), Sequence: 1, Offset: 2},
				{Data: []byte("ef"), Sequence: 2, Offset: 4, IsLast: true, Sha256: sum[:]},
			})}
			p, err := openPart(filepath.Join(t.TempDir(), "file"))
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			g := &getting{remote: "file", client: streaming.NewStreamingServiceClient(plugintest.Start(t, streaming.ServeStreamingService(plugin), unix.New()))}
			size, got, err := g.receive(t.Context(), p, 0)
			if tt.want == "" && (err != nil || size != 6 || !bytes.Equal(got, sum[:])) {
				t.Errorf("%d bytes, checksum %x, %v", size, got, err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			if kept, err := p.size(); err != nil || kept != tt.kept {
				t.Errorf("%d bytes were kept, %v; want %d", kept, err, tt.kept)
			}
		})
	}
}
