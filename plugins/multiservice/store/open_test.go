package store

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
)

func TestOpenMakesItsDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	mustOpen(t, dir)
	if runtime.GOOS == "windows" {
		return // Windows has no such permissions
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, fileName): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %v, want %v", path, got, want)
		}
	}
}

// files returns the names in dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestOpenLeavesOnlyTheDatabase(t *testing.T) {
	dir := t.TempDir()
	left := strings.ReplaceAll(newPattern, "*", "123") // left by a killed process
	if err := os.WriteFile(filepath.Join(dir, left), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir)
	if diff := cmp.Diff([]string{fileName}, files(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestOpenRefusesDirectory(t *testing.T) {
	base := t.TempDir()
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	occupied := filepath.Join(base, "occupied")
	if err := os.MkdirAll(filepath.Join(occupied, fileName), 0o700); err != nil {
		t.Fatal(err)
	}
	public := filepath.Join(base, "public")
	if err := os.Mkdir(public, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(public, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, dir, want string }{
		{"no name", "", "has no name"},
		{"a file", file, file + ": not a directory"},
		{"below a file", filepath.Join(file, "x"), file + ": not a directory"},
		{"no file in it", occupied, filepath.Join(occupied, fileName) + " is not a file"},
		{"public", public, public + " has mode -rwxrwxrwx, so every user can replace the database: run chmod o-w on it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && tt.dir == public {
				t.Skip("Windows has no such permissions")
			}
			s, err := Open(tt.dir)
			if err == nil {
				_ = s.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestOpenOfOneThatIsInUse(t *testing.T) {
	dir := t.TempDir()
	first := mustOpen(t, dir)
	wait := config{lockWait: 10 * time.Millisecond, maxSize: maxSize}
	s, err := open(dir, wait)
	var locked *LockedError
	if !errors.As(err, &locked) {
		t.Fatalf("%v, error %v, want a LockedError", s, err)
	}
	if want := filepath.Join(dir, fileName); locked.Path != want || !strings.Contains(err.Error(), want+" is in use by another process") {
		t.Errorf("error %v, of %s", err, locked.Path)
	}

	// A waiting process opens the database as soon as it is released.
	opened := make(chan error, 1)
	go func() {
		second, err := open(dir, config{lockWait: time.Minute, maxSize: maxSize})
		if err == nil {
			err = second.Close()
		}
		opened <- err
	}()
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if err := <-opened; err != nil {
		t.Errorf("after the first has closed it: %v", err)
	}
}

// Several processes find no database. One makes it and one opens it, and these
// may be different processes.
func TestOpenByManyAtOnce(t *testing.T) {
	for range 5 {
		dir := t.TempDir()
		var mu sync.Mutex // guards opened
		var opened []*Store
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				s, err := open(dir, config{lockWait: 10 * time.Millisecond, maxSize: maxSize})
				var locked *LockedError
				switch {
				case err == nil:
					mu.Lock()
					defer mu.Unlock()
					opened = append(opened, s)
				case !errors.As(err, &locked):
					t.Errorf("error %v, want a LockedError", err)
				}
			})
		}
		wg.Wait()
		if len(opened) > 1 {
			t.Errorf("%d have it open", len(opened))
		}
		for _, s := range opened {
			put(t, s, "a", "x")
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		last := mustOpen(t, dir)
		if got := values(t, last); len(got) != len(opened) {
			t.Errorf("stored %v by %d", got, len(opened))
		}
		if diff := cmp.Diff([]string{fileName}, files(t, dir)); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
	}
}

func TestOpenRefusesOtherDatabases(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(tx *bbolt.Tx) error
		want   string
	}{
		{"of another program", func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(metaBucket)) }, "of another program"},
		{"of a later release", func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(metaBucket)).Put([]byte(formatKey), []byte("2"))
		}, `has format "2", this release knows only "1"`},
		{"without users", func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(usersBucket)) }, "a part of the database is missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := mustOpen(t, dir)
			if err := errors.Join(s.db.Update(tt.change), s.Close()); err != nil {
				t.Fatal(err)
			}
			_, err := Open(dir)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), filepath.Join(dir, fileName)) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}
