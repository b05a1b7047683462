package files_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/streaming/files"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A tree is a store and the directory of its root.
type tree struct {
	*files.Store
	dir string
}

func newTree(t *testing.T, opts ...files.Option) *tree {
	t.Helper()
	dir := t.TempDir()
	return &tree{open(t, dir, opts...), dir}
}

func open(t *testing.T, dir string, opts ...files.Option) *files.Store {
	t.Helper()
	store, err := files.Open(dir, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func (tr *tree) path(name string) string { return filepath.Join(tr.dir, filepath.FromSlash(name)) }

func (tr *tree) write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(tr.path(name)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tr.path(name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (tr *tree) symlink(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, tr.path(name)); err != nil {
		if runtime.GOOS == "windows" {
			t.Skip("this user of Windows may not make symbolic links: ", err)
		}
		t.Fatal(err)
	}
}

// want checks that the root has exactly these files with these contents, beside
// directories.
func (tr *tree) want(t *testing.T, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(tr.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(tr.dir, path)
		got[filepath.ToSlash(name)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if _, err := os.Lstat(tr.path(".plugwire-uploads")); len(got) == len(want) && !os.IsNotExist(err) && !hasStaged(got) {
		t.Errorf("the staging directory is left: %v", err)
	}
}

func hasStaged(got map[string]string) bool {
	for name := range got {
		if strings.HasPrefix(name, ".plugwire-uploads/") {
			return true
		}
	}
	return false
}

// random returns n bytes that are the same for the same n.
func random(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(data)
	return data
}

func sumOf(data []byte) []byte {
	sum := sha256.Sum256(data)
	return sum[:]
}

func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("error %v, want %v", err, want)
	}
	if message := status.Convert(err).Message(); strings.Contains(message, "rpc error") {
		t.Errorf("a status inside of a status: %s", message)
	}
}

func TestOpenErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "absent"), ""} {
		if store, err := files.Open(dir); err == nil {
			store.Close()
			t.Errorf("Open(%q) succeeded", dir)
		}
	}
	for _, opt := range []files.Option{files.WithMaxSize(0), files.WithChunkSize(0)} {
		if _, err := files.Open(t.TempDir(), opt); err == nil {
			t.Error("an option of 0 bytes was accepted")
		}
	}
}

func TestList(t *testing.T) {
	tr := newTree(t)
	list := func(limit int) ([]string, bool) {
		t.Helper()
		names, more, err := tr.List(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		return names, more
	}
	if names, more := list(1); len(names) != 0 || more {
		t.Errorf("an empty root has %v, %v", names, more)
	}
	tr.write(t, "a", nil)
	tr.write(t, "b/c", nil)
	tr.write(t, ".plugwire-uploads/x", nil)
	for _, limit := range []int{2, 3} {
		names, more := list(limit)
		if diff := cmp.Diff([]string{"a", "b/"}, names); diff != "" || more {
			t.Errorf("limit %d: more %v (-want +got):\n%s", limit, more, diff)
		}
	}
	if names, more := list(1); len(names) != 1 || !more {
		t.Errorf("limit 1: %v, %v", names, more)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := tr.List(ctx, 1)
	wantCode(t, err, codes.Canceled)
}

// read returns the data of a download from an offset, and checks its chunks.
func (tr *tree) read(t *testing.T, path string, offset int64, prefix []byte) (data []byte, chunks int, err error) {
	t.Helper()
	d, err := tr.Download(t.Context(), path, offset, prefix)
	if err != nil {
		return nil, 0, err
	}
	defer d.Close()
	for {
		chunk, err := d.Next()
		if err != nil {
			return data, chunks, err
		}
		if want := offset + int64(len(data)); chunk.Offset != want {
			t.Errorf("chunk %d has offset %d, want %d", chunks, chunk.Offset, want)
		}
		data = append(data, chunk.Data...)
		chunks++
		if len(chunk.Data) > files.ChunkSize || len(chunk.Data) < files.ChunkSize && !chunk.Last {
			t.Errorf("a chunk of %d bytes", len(chunk.Data))
		}
		if !chunk.Last {
			if chunk.SHA256 != nil {
				t.Errorf("chunk %d, which is not the last, has a checksum", chunks)
			}
			continue
		}
		whole := data
		if offset > 0 {
			if whole, err = os.ReadFile(tr.path(path)); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(chunk.SHA256, sumOf(whole)) || d.Size() != int64(len(whole)) {
			t.Errorf("size %d and sum %x, want %d and %x", d.Size(), chunk.SHA256, len(whole), sumOf(whole))
		}
		return data, chunks, nil
	}
}
