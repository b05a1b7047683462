package unix_test

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/core/transport/transporttest"
	"github.com/plugwire/plugwire/transport/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) { transporttest.Run(t, unix.New) }

// shortDir returns a new directory with a path that leaves room for a socket's
// name, unlike that of t.TempDir, which holds the test's.
func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "ut-") //nolint:usetesting // see above
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return dir
}

func listen(tb testing.TB, dir string) net.Listener {
	tb.Helper()
	ln, err := unix.New().Listen(tb.Context(), transport.ListenConfig{Version: 1, Dir: dir})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := ln.Close(); err != nil {
			tb.Error(err)
		}
	})
	return ln
}

func dial(tb testing.TB, ln net.Listener) net.Conn {
	tb.Helper()
	conn, err := unix.New().Dial(tb.Context(), transport.DialConfig{Version: 1, Address: ln.Addr().String()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	return conn
}

func TestSocketIsInGivenDirectory(t *testing.T) {
	dir := shortDir(t)
	address := listen(t, dir).Addr().String()
	if got := filepath.Dir(address); got != dir {
		t.Errorf("the socket is in %s, want %s", got, dir)
	}
	if runtime.GOOS == "windows" {
		return // without permissions
	}
	info, err := os.Lstat(address)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode(), fs.ModeSocket|0o600; got != want {
		t.Errorf("the socket's mode is %v, want %v", got, want)
	}
}

func TestOwnDirectoryIsPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no permissions on Windows")
	}
	t.Setenv("TMPDIR", shortDir(t))
	address := listen(t, "").Addr().String()
	info, err := os.Lstat(filepath.Dir(address))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode(), fs.ModeDir|0o700; got != want {
		t.Errorf("the directory's mode is %v, want %v", got, want)
	}
}

func TestListenerCloseIsIdempotent(t *testing.T) {
	t.Setenv("TMPDIR", shortDir(t))
	ln := listen(t, "")
	for range 2 {
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The host and the plugin may have different working directories.
func TestAddressIsAbsolute(t *testing.T) {
	t.Chdir(shortDir(t))
	dial(t, listen(t, "."))
}

// The session asks the socket itself for the peer's credentials, so it needs
// the type.
func TestConnectionsAreUnixConns(t *testing.T) {
	ln := listen(t, shortDir(t))
	dialed := dial(t, ln)
	if _, ok := dialed.(*net.UnixConn); !ok {
		t.Errorf("Dial returned a %T, want a *net.UnixConn", dialed)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if _, ok := accepted.(*net.UnixConn); !ok {
		t.Errorf("Accept returned a %T, want a *net.UnixConn", accepted)
	}
}

// subDir makes a directory of that name, with its parents, below a new one.
func subDir(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(shortDir(t), name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestListenErrors(t *testing.T) {
	const maxLen = 103 // macOS allows the least
	long := strings.Repeat("long/", maxLen/len("long/"))
	tests := []struct {
		name string
		dir  func(*testing.T) string
		want []string
	}{
		{
			name: "path too long",
			dir:  func(t *testing.T) string { t.Helper(); return subDir(t, long) },
			want: []string{"long/plugin-", "bytes long, and this system allows 10", "set XDG_RUNTIME_DIR or TMPDIR of the host to a shorter directory"},
		}, {
			name: "character that cannot be sent",
			dir:  func(t *testing.T) string { t.Helper(); return subDir(t, "a|b") },
			want: []string{"a|b", "holds '|'", "set XDG_RUNTIME_DIR or TMPDIR of the host to another directory"},
		}, {
			name: "missing directory",
			dir:  func(t *testing.T) string { t.Helper(); return filepath.Join(shortDir(t), "gone") },
			want: []string{"gone/plugin-", "no such file or directory"},
		},
	}
	refused := func(t *testing.T, dir string, want []string) {
		t.Helper()
		ln, err := unix.New().Listen(t.Context(), transport.ListenConfig{Version: 1, Dir: dir})
		if err == nil {
			ln.Close()
			t.Fatal("no error")
		}
		for _, want := range want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the error does not say %q: %v", want, err)
			}
		}
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			refused(t, test.dir(t), test.want)
		})
	}
	t.Run("own directory too long", func(t *testing.T) {
		dir := subDir(t, long)
		t.Setenv("TMPDIR", dir)
		refused(t, "", tests[0].want)
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	t.Run("own directory cannot be made", func(t *testing.T) {
		t.Setenv("TMPDIR", filepath.Join(shortDir(t), "gone"))
		refused(t, "", []string{"directory for the socket", "no such file or directory"})
	})
}

func TestDialErrors(t *testing.T) {
	dir := shortDir(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"plugin.sock":                    `"plugin.sock" is not an absolute path`,
		"@plugin":                        `"@plugin" is not an absolute path`, // Linux's abstract names have no permissions
		"/" + strings.Repeat("x", 108):   "is not an absolute path of at most 10",
		dir:                              "connect: connection refused",
		file:                             "connect: connection refused",
		filepath.Join(dir, "gone"):       "connect: no such file or directory",
		filepath.Join(file, "below"):     "connect: not a directory",
		file + "\x00":                    `holds '\x00'`,
		strings.Repeat("/plugin", 1<<10): "at most 1024 are allowed",
	} {
		conn, err := unix.New().Dial(t.Context(), transport.DialConfig{Version: 1, Address: address})
		if err == nil {
			conn.Close()
			t.Errorf("Dial(%q): no error", address)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("Dial(%q): %v, want %q", address, err, want)
		}
	}
}

// accepting returns a listener whose connections are given to serve, one after
// the other, and then closed.
func accepting(b *testing.B, serve func(net.Conn) error) net.Listener {
	b.Helper()
	ln := listen(b, shortDir(b))
	done := make(chan error, 1)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				done <- err
				return
			}
			if err := errors.Join(serve(conn), conn.Close()); err != nil {
				b.Error(err)
			}
		}
	}()
	b.Cleanup(func() {
		ln.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			b.Error(err)
		}
	})
	return ln
}

func BenchmarkDial(b *testing.B) {
	ln := accepting(b, func(net.Conn) error { return nil })
	cfg := transport.DialConfig{Version: 1, Address: ln.Addr().String()}
	tr := unix.New()
	b.ReportAllocs()
	for b.Loop() {
		conn, err := tr.Dial(b.Context(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPingPong64B(b *testing.B) {
	const size = 64
	ln := accepting(b, func(conn net.Conn) error {
		buf := make([]byte, size)
		for {
			if _, err := io.ReadFull(conn, buf); err != nil {
				return unlessEOF(err)
			}
			if _, err := conn.Write(buf); err != nil {
				return err
			}
		}
	})
	conn := dial(b, ln)
	buf := make([]byte, size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(conn, buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStream64KiB(b *testing.B) {
	const size = 64 << 10
	ln := accepting(b, func(conn net.Conn) error {
		buf := make([]byte, size)
		for {
			if _, err := conn.Read(buf); err != nil {
				return unlessEOF(err)
			}
		}
	})
	conn := dial(b, ln)
	buf := make([]byte, size)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func unlessEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
