//go:build unix

package hosts

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// directory makes a directory for sockets.
func directory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "h-") //nolint:usetesting // short, because the path of a socket is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// serve serves a status at a socket until the test ends.
func serve(t *testing.T, path, plugins, log string) {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/plugins", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, plugins) })
	mux.HandleFunc("/v1/logs", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, log) })
	server := &http.Server{Handler: mux}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
}

func newFinder(t *testing.T, dir string) *Finder {
	t.Helper()
	f, err := NewFinder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// Fields that this program does not know are ignored, and what is wrong with one host does
// not hide the others.
func TestReadAll(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	serve(t, filepath.Join(dir, "1.sock"), `{"version":1,"new":{},"host":{"name":"h","pid":7,"new":1},"plugins":[{"id":1,"name":"p","calls":{"durations":[[1024,3]]}}]}`, "")
	serve(t, filepath.Join(dir, "2.sock"), `{"version":2}`, "")
	serve(t, filepath.Join(dir, "3.sock"), `nonsense`, "")
	serve(t, filepath.Join(dir, "not-a-host"), `{}`, "")
	f := newFinder(t, dir)
	for range 2 { // the second time on the same connections
		answers, err := f.ReadAll(t.Context())
		if err != nil || len(answers) != 3 {
			t.Fatalf("%d answers, %v", len(answers), err)
		}
		if a := answers[0]; a.Err != nil || a.Report.Host.Name != "h" || a.Report.Plugins[0].Calls.Durations[0] != [2]uint64{1024, 3} {
			t.Errorf("%+v", a)
		}
		var version *VersionError
		if err := answers[1].Err; !errors.As(err, &version) || version.Version != 2 {
			t.Errorf("%v", err)
		}
		if err := answers[2].Err; err == nil || !strings.Contains(err.Error(), "its answer: invalid character") {
			t.Errorf("%v", err)
		}
	}
}

// stale makes a socket where nobody listens.
func stale(t *testing.T, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
}

// The socket of a host that was killed is removed, and no other file is. A directory that a
// person names may belong to other programs: nothing is removed there.
func TestStale(t *testing.T) {
	runtime := directory(t)
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	t.Setenv("TMPDIR", runtime)
	own, other := filepath.Join(runtime, "plugwire"), directory(t)
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		dir, flag string
		kept      bool
	}{{own, "", false}, {other, other, true}} {
		socket, file := filepath.Join(tt.dir, "1.sock"), filepath.Join(tt.dir, "file.sock")
		stale(t, socket)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		answers, err := newFinder(t, tt.flag).ReadAll(t.Context())
		if err != nil || len(answers) != 0 {
			t.Errorf("-dir %q: %v, %v", tt.flag, answers, err)
		}
		if _, err := os.Lstat(socket); errors.Is(err, os.ErrNotExist) == tt.kept {
			t.Errorf("-dir %q: the socket: %v", tt.flag, err)
		}
		if _, err := os.Lstat(file); err != nil {
			t.Errorf("-dir %q: the file: %v", tt.flag, err)
		}
	}
}

// A host that ends while it is asked is not an error. One that refuses a reader is.
func TestEndWhileAsked(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	for _, answer := range []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"} {
		for name, end := range map[string]func(*net.UnixListener) error{
			"stops":   func(ln *net.UnixListener) error { return os.Remove(ln.Addr().String()) },
			"killed":  (*net.UnixListener).Close,
			"refuses": func(*net.UnixListener) error { return nil },
		} {
			path := filepath.Join(dir, name+".sock")
			ln, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
			if err != nil {
				t.Fatal(err)
			}
			ln.SetUnlinkOnClose(false)
			served := make(chan error, 1)
			go func() {
				conn, err := ln.Accept()
				if err == nil && answer != "" {
					_, err = http.ReadRequest(bufio.NewReader(conn))
				}
				if err == nil { // a host that refuses does not read the request
					_, writeErr := io.WriteString(conn, answer)
					err = errors.Join(writeErr, end(ln), conn.Close())
				}
				served <- err
			}()
			found, err := newFinder(t, dir).Find()
			if err != nil || len(found) != 1 {
				t.Fatalf("%v, %v", found, err)
			}
			_, err = found[0].Read(t.Context())
			if errors.Is(err, ErrGone) != (name != "refuses") || err == nil {
				t.Errorf("a host that %s after %q: %v", name, answer, err)
			}
			if name == "refuses" && !strings.Contains(err.Error(), "too many readers") {
				t.Errorf("a host that refuses: %v", err)
			}
			if err := <-served; err != nil {
				t.Fatal(err)
			}
			_ = ln.Close()
			_ = os.Remove(path) // it may have gone
		}
	}
}

// A host that is stopped is said to be silent, and hides no other.
func TestSilent(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	ln, err := net.Listen("unix", filepath.Join(dir, "1.sock")) // the system accepts, and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	serve(t, filepath.Join(dir, "2.sock"), `{"version":1,"host":{"name":"h"}}`, "")
	answers, err := newFinder(t, dir).ReadAll(t.Context())
	if err != nil || len(answers) != 2 {
		t.Fatalf("%v, %v", answers, err)
	}
	if err := answers[0].Err; err == nil || !strings.Contains(err.Error(), "has not answered for 2s") || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent host: %v", err)
	}
	if a := answers[1]; a.Err != nil || a.Report.Host.Name != "h" {
		t.Errorf("the other host: %+v", a)
	}
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	if _, err := NewFinder(filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := newFinder(t, dir).Find(); err == nil || !strings.Contains(err.Error(), "is not a directory that only user") {
		t.Errorf("a directory that others can enter: %v", err)
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	serve(t, filepath.Join(dir, "1.sock"), "", `{"version":1,"seq":1,"msg":"a","attrs":{"b":1}}
{"version":1,"missed":3}
`)
	serve(t, filepath.Join(dir, "2.sock"), "", fmt.Sprintf("{%q}\n", strings.Repeat("x", 2*maxLine)))
	found, err := newFinder(t, dir).Find()
	if err != nil || len(found) != 2 {
		t.Fatalf("%v, %v", found, err)
	}
	var records []Record
	keep := func(r Record) error {
		records = append(records, r)
		return nil
	}
	if err := found[0].Log(t.Context(), false, keep); err != nil || len(records) != 2 || records[0].Message != "a" || records[1].Missed != 3 {
		t.Errorf("%+v, %v", records, err)
	}
	if err := found[1].Log(t.Context(), true, keep); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a line without an end: %v", err)
	}
	enough := errors.New("enough")
	if err := found[0].Log(t.Context(), true, func(Record) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := found[0].Log(ctx, true, keep); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// FuzzDecode: no answer of a host can do more than fail.
func FuzzDecode(f *testing.F) {
	f.Add(`{"version":1,"plugins":[{"calls":{"durations":[[1,2]]}}]}`)
	f.Add(`{"version":1,"seq":18446744073709551615,"attrs":{"a":[1,{}]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := parseReport([]byte(text)); err == nil && r.Version != version {
			t.Errorf("version %d", r.Version)
		}
		if r, err := parseRecord([]byte(text)); err == nil && r.Version != version {
			t.Errorf("version %d", r.Version)
		}
	})
}
