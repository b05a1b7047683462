//go:build unix

package logs

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/hosts"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
)

// The numbers of the records that a host has kept are not a row without gaps, which is no
// loss. A reader that was cut off says what it has missed, once.
func TestMissing(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "l-") //nolint:usetesting // short, because the path of a socket is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ln, err := net.Listen("unix", filepath.Join(dir, "1.sock"))
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan string, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/plugins" {
			_, _ = io.WriteString(w, `{"version":1,"host":{"name":"h","pid":7}}`)
			return
		}
		_, _ = io.WriteString(w, <-answers)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // cuts the answer off
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	out, notes := file(t, dir, "out"), file(t, dir, "notes")
	finder, err := hosts.NewFinder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer finder.Close()
	found, err := finder.Find()
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	f := &follower{command: &command{out: output.New(out, notes)}, seen: make(map[string]uint64)}
	f.out.JSON = true
	ctx, fail := context.WithCancelCause(t.Context())
	defer fail(nil)
	for _, tt := range []struct{ answer, want string }{
		{`{"version":1,"seq":3,"msg":"a"}` + "\n" + `{"version":1,"seq":9,"msg":"b"}` + "\n", ""},
		{`{"version":1,"seq":9,"msg":"b"}` + "\n" + `{"version":1,"seq":12,"msg":"c"}` + "\n", "plugwire: h: 2 records are missing, because the output was not read fast enough\n"},
		{`{"version":1,"seq":12,"msg":"c"}` + "\n" + `{"version":1,"missed":4}` + "\n" + `{"version":1,"seq":17,"msg":"d"}` + "\n", "plugwire: h: 4 records are missing, because the output was not read fast enough\n"},
	} {
		if err := notes.Truncate(0); err != nil {
			t.Fatal(err)
		}
		answers <- tt.answer
		if err := f.follow(ctx, fail, found[0]); !errors.Is(err, hosts.ErrCut) {
			t.Fatalf("the end of the answer: %v", err)
		}
		if got, err := os.ReadFile(notes.Name()); err != nil || string(got) != tt.want {
			t.Errorf("notes %q, %v; want %q", got, err, tt.want)
		}
	}
}

// file makes a file that is written at its end.
func file(t *testing.T, dir, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}
