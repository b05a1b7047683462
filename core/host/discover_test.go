package host_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/core/host"
)

func TestDiscover(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	suffix := ""
	if runtime.GOOS == "windows" {
		suffix = ".exe"
	}
	program := func(name string) string { return filepath.Join(dir, name+suffix) }
	for _, name := range []string{"b-plugin", "a-plugin", "c-plugin", "other"} {
		if err := os.WriteFile(program(name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "d-plugin"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{filepath.Join(dir, "d-plugin"): "it is a directory"}
	if runtime.GOOS != "windows" { // a name decides there, and links need rights
		if err := os.Chmod(program("b-plugin"), 0o644); err != nil {
			t.Fatal(err)
		}
		want[program("b-plugin")] = "this process may not execute it: permission denied"
		for name, to := range map[string]string{"e-plugin": "nowhere", "f-plugin": "a-plugin"} {
			if err := os.Symlink(to, program(name)); err != nil {
				t.Fatal(err)
			}
		}
		want[program("e-plugin")] = "no such file or directory"
	}
	programs, skipped, err := host.Discover(dir, "*-plugin")
	if err != nil {
		t.Fatal(err)
	}
	found := []string{program("a-plugin"), program("b-plugin"), program("c-plugin")}
	if runtime.GOOS != "windows" {
		found = []string{program("a-plugin"), program("c-plugin"), program("f-plugin")}
	}
	if diff := cmp.Diff(found, programs); diff != "" {
		t.Errorf("programs (-want +got):\n%s", diff)
	}
	reasons := make(map[string]string)
	for _, s := range skipped {
		reasons[s.Path] = s.Err.Error()
		if s.String() != s.Path+": "+s.Err.Error() {
			t.Errorf("String: %s", s)
		}
	}
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
}

func TestDiscoverErrors(t *testing.T) {
	t.Parallel()
	if _, _, err := host.Discover(t.TempDir(), "[-"); !errors.Is(err, filepath.ErrBadPattern) {
		t.Errorf("a pattern that is not valid: %v", err)
	}
	if _, _, err := host.Discover(filepath.Join(t.TempDir(), "none"), "*"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that does not exist: %v", err)
	}
	if _, _, err := host.Discover("", "*"); err == nil {
		t.Error("the empty directory is the working directory")
	}
	for _, pattern := range []string{"", "plugins/*", "*/"} {
		if _, _, err := host.Discover(t.TempDir(), pattern); err == nil {
			t.Errorf("pattern %q, which matches no file name, is not an error", pattern)
		}
	}
	programs, skipped, err := host.Discover(t.TempDir(), "*")
	if programs != nil || skipped != nil || err != nil {
		t.Errorf("an empty directory: %q, %v, %v", programs, skipped, err)
	}
}
