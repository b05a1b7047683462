package files

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// staged makes a file in the staging directory, of that size and age.
func staged(t *testing.T, root, name string, size int64, age time.Duration) {
	t.Helper()
	dir := filepath.Join(root, stagingDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil { // sparse
		t.Fatal(err)
	}
	at := time.Now().Add(-age)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestSweep(t *testing.T) {
	const hour = time.Hour
	many, few := map[string]bool{}, map[string]bool{}
	for i := range maxStaged + 3 {
		many[fmt.Sprintf("%02d.part", i)] = i < maxStaged
	}
	for i := range 5 {
		few[fmt.Sprintf("%02d.part", i)] = i < 3
	}
	for _, tt := range []struct {
		name  string
		size  int64
		age   func(name string) time.Duration
		files map[string]bool // whether the file is kept, by name
	}{
		{"age", 1, func(name string) time.Duration {
			return map[string]time.Duration{"old.part": maxStagedAge + hour, "new.part": maxStagedAge - hour, "future.part": -hour}[name]
		}, map[string]bool{"old.part": false, "new.part": true, "future.part": true}},
		{"number", 1, byNumber, many},
		{"bytes", maxStagedBytes / 3, byNumber, few},
		{"of a process that is gone", 1, func(string) time.Duration { return 0 }, map[string]bool{"x.temp": false, "x.part": true}},
		{"not ours", 1, func(string) time.Duration { return 2 * maxStagedAge }, map[string]bool{"notes": true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for name := range tt.files {
				staged(t, root, name, tt.size, tt.age(name))
			}
			store, err := Open(root)
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			got := map[string]bool{}
			for name := range tt.files {
				_, err := os.Lstat(filepath.Join(root, stagingDir, name))
				got[name] = err == nil
			}
			if diff := cmp.Diff(tt.files, got); diff != "" {
				t.Errorf("kept (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSweepRemovesTheEmptyDirectory(t *testing.T) {
	root := t.TempDir()
	staged(t, root, "x.temp", 1, 0)
	store, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := os.Lstat(filepath.Join(root, stagingDir)); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}

// byNumber makes the files with higher numbers older.
func byNumber(name string) time.Duration {
	var n int
	fmt.Sscanf(name, "%d", &n)
	return time.Duration(n) * time.Minute
}

// An upload that is under way is not removed, however old its last byte is.
func TestSweepSparesWhatIsInUse(t *testing.T) {
	root := t.TempDir()
	store, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, id := range []string{"", "id"} {
		u, err := store.Upload(t.Context(), UploadSpec{Path: "file" + id, ID: id})
		if err != nil {
			t.Fatal(err)
		}
		defer u.Discard()
		if err := u.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-2 * maxStagedAge)
		if err := os.Chtimes(filepath.Join(root, u.staged), at, at); err != nil {
			t.Fatal(err)
		}
		if err := store.sweep(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(filepath.Join(root, u.staged)); err != nil {
			t.Error(err)
		}
	}
}
