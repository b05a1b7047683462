package main

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/plugins/streaming/files"
	"github.com/plugwire/plugwire/plugins/streaming/handler"
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

// The host believes only a file that is complete and has the checksum.
func TestGetFromAPluginThatIsWrong(t *testing.T) {
	sum := sha256.Sum256([]byte("abcdef"))
	const due, checksum = "was due", "does not have the plugin's checksum"
	for _, tt := range []struct {
		name   string
		change func(chunks []*streaming.FileChunk) []*streaming.FileChunk
		want   string // part of the error; empty if there is none
	}{
		{"nothing", func(c []*streaming.FileChunk) []*streaming.FileChunk { return c }, ""},
		{"gap", func(c []*streaming.FileChunk) []*streaming.FileChunk { return append(c[:1], c[2]) }, due},
		{"order", func(c []*streaming.FileChunk) []*streaming.FileChunk { c[1], c[2] = c[2], c[1]; return c }, due},
		{"no last", func(c []*streaming.FileChunk) []*streaming.FileChunk { return c[:2] }, "without a last chunk"},
		{"no chunk", func([]*streaming.FileChunk) []*streaming.FileChunk { return nil }, "without a last chunk"},
		{"other data", func(c []*streaming.FileChunk) []*streaming.FileChunk { c[1].Data = []byte("xx"); return c }, checksum},
		{"no checksum", func(c []*streaming.FileChunk) []*streaming.FileChunk { c[2].Sha256 = nil; return c }, checksum},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plugin := &scriptedPlugin{chunks: tt.change([]*streaming.FileChunk{
				{Data: []byte("ab"), TotalBytes: 6},
				{Data: []byte("cd"), Sequence: 1, Offset: 2},
				{Data: []byte("ef"), Sequence: 2, Offset: 4, IsLast: true, Sha256: sum[:]},
			})}
			client := streaming.NewStreamingServiceClient(plugintest.Start(t, streaming.ServeStreamingService(plugin), unix.New()))
			file := filepath.Join(t.TempDir(), "file")
			_, err := get(t.Context(), client, "file", file)
			content, readErr := os.ReadFile(file)
			if tt.want == "" && (err != nil || string(content) != "abcdef") {
				t.Errorf("%q, %v", content, err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !os.IsNotExist(readErr)) {
				t.Errorf("error %v, want %s; %q, %v", err, tt.want, content, readErr)
			}
		})
	}
}

// changingClient changes a file when the upload begins.
type changingClient struct {
	streaming.StreamingServiceClient
	change func() error
}

// GetUpload implements streaming.StreamingServiceClient.
func (c changingClient) GetUpload(ctx context.Context, _ *streaming.GetUploadRequest, _ ...grpc.CallOption) (*streaming.GetUploadResponse, error) {
	return &streaming.GetUploadResponse{}, c.change()
}

// startPlugin serves root in this process.
func startPlugin(t *testing.T, root string) streaming.StreamingServiceClient {
	t.Helper()
	store, err := files.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return streaming.NewStreamingServiceClient(plugintest.Start(t, streaming.ServeStreamingService(handler.New(store)), unix.New()))
}

// If a file gets shorter or longer while it is sent, the error says so, and the file does not arrive.
func TestPutOfAFileThatChanges(t *testing.T) {
	root, local := t.TempDir(), filepath.Join(t.TempDir(), "local")
	client := startPlugin(t, root)
	for size, want := range map[int64]string{999: "local: unexpected EOF", 2001: "local has changed"} {
		if err := os.WriteFile(local, make([]byte, 2000), 0o600); err != nil {
			t.Fatal(err)
		}
		changing := changingClient{client, func() error { return os.Truncate(local, size) }}
		if _, err := put(t.Context(), changing, local, "remote"); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%d bytes: error %v, want %s", size, err, want)
		}
	}
	if _, err := os.Lstat(filepath.Join(root, "remote")); !os.IsNotExist(err) {
		t.Errorf("it has arrived: %v", err)
	}
}

// Bytes of another version of the file are not continued.
func TestGetContinues(t *testing.T) {
	root, local := t.TempDir(), filepath.Join(t.TempDir(), "local")
	if err := os.WriteFile(filepath.Join(root, "remote"), []byte("The quick brown fox"), 0o600); err != nil {
		t.Fatal(err)
	}
	client := startPlugin(t, root)
	for part, want := range map[string]codes.Code{"": codes.OK, "The quick": codes.OK, "The quick brown fox": codes.OK, "The slow": codes.Aborted} {
		if err := os.WriteFile(local+".part", []byte(part), 0o600); err != nil {
			t.Fatal(err)
		}
		began, err := get(t.Context(), client, "remote", local)
		if status.Code(err) != want || want == codes.OK && began != int64(len(part)) {
			t.Errorf("%q: began at %d, error %v, want %v", part, began, err, want)
		}
		if want != codes.OK {
			continue
		}
		if content, err := os.ReadFile(local); string(content) != "The quick brown fox" || err != nil {
			t.Errorf("%q: %q, %v", part, content, err)
		}
	}
}
