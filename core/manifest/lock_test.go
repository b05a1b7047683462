package manifest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const accepted = `{"manifest": 1, "plugins": [
  {"name": "a", "command": "a", "args": ["x"], "protocol": "p", "versions": [1, 2], "environment": {"A": "secret"}, "inherit": ["H"]},
  {"name": "b", "command": "b", "optional": true},
  {"name": "c", "command": "c"}
]}`

// locked makes a directory with programs, a manifest and its lock file.
func locked(t *testing.T) (dir, path, lock string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"a", "b", "c", "d"} {
		write(t, dir, name, "program "+name)
	}
	path, lock = write(t, dir, "plugins.json", accepted), filepath.Join(dir, "plugins.lock.json")
	m, err := Load(path)
	if err == nil {
		err = m.Lock(lock)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, path, lock
}

// A manifest that was widened does not pass, and the error says each change, but no value of
// a variable.
func TestWidenedManifest(t *testing.T) {
	t.Parallel()
	dir, path, lock := locked(t)
	for change, want := range map[string][]string{
		"": nil,
		`"c"} -> "c"}, {"name": "d", "command": "d"}`:                        {"plugin d is new"},
		`"command": "a" -> "command": "d"`:                                   {`plugin a: the command was "a" and is "d"`},
		`["x"] -> ["x", "-v"]`:                                               {`plugin a: the list of arguments was ["x"] and is ["x" "-v"]`},
		`"p", -> "p", "checksum": "sha256:` + strings.Repeat("0", 64) + `",`: {"plugin a: the checksum was"},
		`"protocol": "p" -> "protocol": "q"`:                                 {`plugin a: the protocol was "p" and is "q"`},
		`"protocol": "p", -> `:                                               {`plugin a: the protocol was "p" and is ""`},
		`[1, 2] -> [1, 3]`:                                                   {"plugin a: version 3 of the protocol is new"},
		`"versions": [1, 2], -> `:                                            {"plugin a: all versions of the protocol are accepted now"},
		`[1, 2] -> [2]`:                                                      nil,
		`"A": "secret" -> "A": "other"`:                                      {"plugin a: the variable A has another value"},
		`"A": "secret" -> `:                                                  {"plugin a: the variable A is gone"},
		`"secret" -> "secret", "B": ""`:                                      {"plugin a: the variable B is new"},
		`["H"] -> ["H", "TOKEN"]`:                                            {"plugin a: it inherits the variable TOKEN now"},
		`["H"] -> ["I"]`:                                                     {"plugin a: it inherits the variable I now", "plugin a: it does not inherit the variable H any more"},
		`"c"} -> "c", "optional": true}`:                                     {"plugin c: it was required and is optional"},
		`"optional": true -> "optional": false`:                              nil,
		`"c"} -> "c", "lazy": true, "idle": "1s", "needs": ["a"]}`:           nil,
		`,
  {"name": "c", "command": "c"} -> `: {"plugin c is required and gone"},
		`  {"name": "b", "command": "b", "optional": true},
 -> `: nil,
	} {
		from, to, _ := strings.Cut(change, " -> ")
		if !strings.Contains(accepted, from) {
			t.Fatalf("%q changes nothing", change)
		}
		write(t, dir, "plugins.json", strings.Replace(accepted, from, to, 1))
		m, err := LoadLocked(path, lock)
		if len(want) == 0 {
			if err != nil {
				t.Errorf("%s: %v", change, err)
			} else if p := m.Plugins[0]; !strings.HasPrefix(p.Checksum, "sha256:") {
				t.Errorf("%s: the checksum is %q", change, p.Checksum)
			}
			continue
		}
		widened, ok := errors.AsType[*LockError](err)
		if !ok {
			t.Errorf("%s: %v", change, err)
			continue
		}
		if widened.Manifest != path || widened.Lock != lock || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", change, err)
		}
		if !slices.EqualFunc(widened.Changes, want, strings.HasPrefix) {
			t.Errorf("%s: %q, want %q", change, widened.Changes, want)
		}
	}
}

// Without a lock file nothing is accepted. A file that is not a lock file is an error.
func TestLockFile(t *testing.T) {
	t.Parallel()
	dir, path, lock := locked(t)
	if _, err := LoadLocked(path, filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "accept the manifest first") {
		t.Error(err)
	}
	for text, want := range map[string]string{
		accepted: `unknown field "manifest"`,
		`{"lock": 1, "plugins": [{"name": "a", "command": "a"}]}`: "plugin number 1 (a): it has no checksum",
		"": "the file ends too early",
	} {
		if _, err := LoadLocked(path, write(t, dir, "other.json", text)); err == nil || !strings.HasPrefix(err.Error(), "load the lock: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if runtime.GOOS != "windows" {
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := Load(path)
	if err == nil {
		err = m.Lock(lock) // again
	}
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(lock)
	if err != nil || info.Mode().Perm() != m.mode {
		t.Errorf("%v, %v", info, err)
	}
	if left, err := filepath.Glob(lock + ".*"); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
	if err := m.Lock(filepath.Join(dir, "missing", "lock")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	m.Plugins[0].Checksum = "sha256:" + strings.Repeat("0", 64)
	if err := m.Lock(lock); err == nil || !strings.HasPrefix(err.Error(), "lock plugin a: the manifest has the checksum sha256:0000") {
		t.Error(err)
	}
	m.Plugins[0].Command = dir
	if err := m.Lock(lock); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
		t.Error(err)
	}
	m.Plugins[0].Command = filepath.Join(dir, "missing")
	if err := m.Lock(lock); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
