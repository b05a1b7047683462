package main

import (
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/plugins/hostcli/clitest"
	"github.com/plugwire/plugwire/plugins/streaming/files"
	"github.com/plugwire/plugwire/plugins/streaming/handler"
	"github.com/plugwire/plugwire/plugins/streaming/streaming"
	"github.com/plugwire/plugwire/transport/unix"
)

// While a put is under way, the same command fails and gives the reason.
func TestPutWhileItIsUnderWay(t *testing.T) {
	t.Parallel() // the plugin waits 4 s
	root, local := t.TempDir(), filepath.Join(t.TempDir(), "local")
	if err := os.WriteFile(local, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &putting{local: local}
	if err := p.open(); err != nil {
		t.Fatal(err)
	}
	defer p.file.Close()
	store, err := files.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	first, err := store.Upload(t.Context(), files.UploadSpec{Path: "local", ID: p.id})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Write([]byte("da")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), clitest.Path("streaming-host"), "-root", root, "put", local)
	output, err := cmd.CombinedOutput()
	const want = "streaming-host: the same upload is under way, still after 4s: try again when it has ended (FailedPrecondition)\n"
	if err == nil || string(output) != want {
		t.Errorf("%v, output %q, want %q", err, output, want)
	}
	if err := first.Write([]byte("ta")); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("data"))
	if err := first.Commit(sum[:]); err != nil {
		t.Errorf("the first: %v", err)
	}
}

// If a file gets shorter or longer while it is sent, the error says so, and the
// file does not arrive.
func TestPutOfAFileThatChanges(t *testing.T) {
	root := t.TempDir()
	store, err := files.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	plugin := plugintest.Start(t, streaming.ServeStreamingService(handler.New(store)), unix.New())
	local := filepath.Join(t.TempDir(), "local")
	for _, offset := range []int64{0, 1000} {
		for _, size := range []int64{999, 2001} {
			if err := os.WriteFile(local, make([]byte, 2000), 0o600); err != nil {
				t.Fatal(err)
			}
			p := &putting{local: local, remote: "remote", client: streaming.NewStreamingServiceClient(plugin)}
			if err := p.open(); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(local, size); err != nil {
				t.Fatal(err)
			}
			if _, err := p.send(t.Context(), offset); err == nil || !strings.HasSuffix(err.Error(), "local was changed while it was sent: put it again") {
				t.Errorf("%d bytes, from %d: error %v", size, offset, err)
			}
			if err := p.file.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := os.Lstat(filepath.Join(root, "remote")); !os.IsNotExist(err) {
		t.Errorf("it has arrived: %v", err)
	}
}
