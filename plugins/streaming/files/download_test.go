package files_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/plugwire/plugwire/plugins/streaming/files"
)

func TestDownload(t *testing.T) {
	tr := newTree(t)
	for _, tt := range []struct {
		name   string
		size   int
		chunks int
	}{
		{"empty", 0, 1},
		{"a byte", 1, 1},
		{"a chunk", files.ChunkSize, 1},
		{"a chunk and a byte", files.ChunkSize + 1, 2},
		{"chunks", 4 * files.ChunkSize, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := random(tt.size)
			tr.write(t, "d/file", want)
			got, chunks, err := tr.read(t, "d/file", 0, nil)
			if err != nil || !bytes.Equal(got, want) || chunks != tt.chunks {
				t.Errorf("%d bytes in %d chunks, %v; want %d in %d", len(got), chunks, err, len(want), tt.chunks)
			}
			for _, offset := range []int{1, tt.size / 2, tt.size} {
				if offset == 0 || offset > tt.size {
					continue
				}
				got, _, err := tr.read(t, "d/file", int64(offset), sumOf(want[:offset]))
				if err != nil || !bytes.Equal(got, want[offset:]) {
					t.Errorf("from %d: %d bytes, %v; want %d", offset, len(got), err, tt.size-offset)
				}
			}
		})
	}
}

func TestDownloadRefuses(t *testing.T) {
	tr := newTree(t)
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	tr.write(t, "file", random(100))
	tr.write(t, "dir/file", nil)
	tr.write(t, ".plugwire-uploads/x.part", nil)
	tr.symlink(t, secret, "out")
	tr.symlink(t, outside, "outdir")
	tr.symlink(t, "../"+filepath.Base(tr.dir)+"/file", "dotdot")
	tr.symlink(t, "loop", "loop")
	tr.symlink(t, "absent", "dangling")
	tr.symlink(t, "dir", "linkdir")
	prefix := sumOf(random(100)[:50])
	for _, tt := range []struct {
		path   string
		offset int64
		prefix []byte
		want   codes.Code
	}{
		{"absent", 0, nil, codes.NotFound},
		{"dir/absent", 0, nil, codes.NotFound},
		{"file/x", 0, nil, codes.NotFound},
		{"dangling", 0, nil, codes.NotFound},
		{strings.Repeat("long/", 63) + "x", 0, nil, codes.NotFound},
		{"dir", 0, nil, codes.FailedPrecondition},
		{"linkdir", 0, nil, codes.FailedPrecondition},
		{"loop", 0, nil, codes.FailedPrecondition},
		{"../secret", 0, nil, codes.PermissionDenied},
		{secret, 0, nil, codes.PermissionDenied},
		{"out", 0, nil, codes.PermissionDenied},
		{"outdir/secret", 0, nil, codes.PermissionDenied},
		{"dotdot", 0, nil, codes.PermissionDenied},
		{".plugwire-uploads/x.part", 0, nil, codes.PermissionDenied},
		{"linkdir/../file", 0, nil, codes.PermissionDenied},
		{"", 0, nil, codes.InvalidArgument},
		{"file\x01", 0, nil, codes.InvalidArgument},
		{"file", -1, nil, codes.InvalidArgument},
		{"file", 50, nil, codes.InvalidArgument},
		{"file", 50, prefix[:31], codes.InvalidArgument},
		{"file", 0, prefix, codes.InvalidArgument},
		{"file", 51, prefix, codes.Aborted},
		{"file", 101, prefix, codes.Aborted},
		{"file", 1 << 62, prefix, codes.Aborted},
		{"linkdir/file", 0, nil, codes.OK},
		{"file", 50, prefix, codes.OK},
	} {
		d, err := tr.Download(t.Context(), tt.path, tt.offset, tt.prefix)
		if err == nil {
			d.Close()
		} else if strings.Contains(err.Error(), outside) && tt.path != secret {
			t.Errorf("%q: the error names a file outside of the root: %v", tt.path, err)
		}
		t.Logf("%.40q from %d: %v", tt.path, tt.offset, err)
		wantCode(t, err, tt.want)
	}
}

// A download sends one version of the file, or fails.
func TestDownloadOfAFileThatChanges(t *testing.T) {
	const size = 3 * files.ChunkSize
	for _, tt := range []struct {
		name   string
		change func(tr *tree) error
		want   codes.Code
	}{
		{"written", func(tr *tree) error { return writeAt(tr.path("file"), 2*files.ChunkSize) }, codes.Aborted},
		{"written where it was read already", func(tr *tree) error { return writeAt(tr.path("file"), 0) }, codes.Aborted},
		{"longer", func(tr *tree) error { return writeAt(tr.path("file"), size) }, codes.Aborted},
		{"shorter", func(tr *tree) error { return os.Truncate(tr.path("file"), size-1) }, codes.Aborted},
		{"empty", func(tr *tree) error { return os.Truncate(tr.path("file"), 0) }, codes.Aborted},
		{"replaced", func(tr *tree) error {
			return errors.Join(os.WriteFile(tr.path("new"), []byte("x"), 0o600), os.Rename(tr.path("new"), tr.path("file")))
		}, codes.OK},
		{"removed", func(tr *tree) error { return os.Remove(tr.path("file")) }, codes.OK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTree(t)
			want := random(size)
			tr.write(t, "file", want)
			d, err := tr.Download(t.Context(), "file", 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			chunk, err := d.Next()
			got := chunk.Data
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.change(tr); err != nil {
				t.Fatal(err)
			}
			for err == nil && !chunk.Last {
				chunk, err = d.Next()
				got = append(got, chunk.Data...)
			}
			wantCode(t, err, tt.want)
			if err == nil && (!bytes.Equal(got, want) || !bytes.Equal(chunk.SHA256, sumOf(want))) {
				t.Errorf("what came is not what the file was")
			}
		})
	}
}

func writeAt(path string, offset int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte("change"), offset)
	return errors.Join(err, f.Close())
}

// A change right after the start of the download must change the file's time.
func TestDownloadOfAFileJustWritten(t *testing.T) {
	tr := newTree(t)
	for range 20 {
		tr.write(t, "file", random(100))
		d, err := tr.Download(t.Context(), "file", 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := writeAt(tr.path("file"), 0); err != nil {
			t.Fatal(err)
		}
		_, err = d.Next()
		d.Close()
		wantCode(t, err, codes.Aborted)
	}
}

func TestDownloadOfAFileFromTheFuture(t *testing.T) {
	tr := newTree(t)
	tr.write(t, "file", random(100))
	if err := os.Chtimes(tr.path("file"), time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tr.read(t, "file", 0, nil); err != nil {
		t.Error(err)
	}
}

func TestDownloadCanceled(t *testing.T) {
	tr := newTree(t)
	data := random(2 * files.ChunkSize)
	tr.write(t, "file", data)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := tr.Download(ctx, "file", int64(len(data)), sumOf(data))
	wantCode(t, err, codes.Canceled)
}

func TestDownloadAfterClose(t *testing.T) {
	store, err := files.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = store.Download(t.Context(), "file", 0, nil)
	wantCode(t, err, codes.Unavailable)
}
