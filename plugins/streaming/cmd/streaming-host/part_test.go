package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPartIsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	first, err := openPart(path)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := openPart(path); err == nil {
		t.Error("it was opened twice")
		p.close()
	}
	if err := first.close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(partName(path)); !os.IsNotExist(err) {
		t.Errorf("an empty part is left: %v", err)
	}
}

// After its opening and before its locking, a part may become the complete file:
// then nothing may be written to it.
func TestPartIsPublishedMeanwhile(t *testing.T) {
	for _, overwrite := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "file")
		first, err := openPart(path)
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.OpenFile(partName(path), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if err := first.publish(overwrite); err != nil {
			t.Fatal(err)
		}
		if err := first.close(); err != nil {
			t.Fatal(err)
		}
		second := &part{path, file}
		if err := second.lock(); err == nil {
			t.Error("a complete file was taken for a part")
		}
	}
}
