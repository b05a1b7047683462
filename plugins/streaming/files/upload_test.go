package files_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/plugwire/plugwire/plugins/streaming/files"
)

// begin begins an upload, which must succeed.
func (tr *tree) begin(t *testing.T, spec files.UploadSpec) *files.Upload {
	t.Helper()
	u, err := tr.Upload(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func mustWrite(t *testing.T, u *files.Upload, data string) {
	t.Helper()
	if err := u.Write([]byte(data)); err != nil {
		t.Fatal(err)
	}
}

func (tr *tree) mustReceive(t *testing.T, path, id string, want int64) {
	t.Helper()
	if got, err := tr.Received(path, id); got != want || err != nil {
		t.Errorf("%d bytes of %s are there, %v; want %d", got, path, err, want)
	}
}

func TestUpload(t *testing.T) {
	tr := newTree(t)
	for _, spec := range []files.UploadSpec{
		{Path: "plain"},
		{Path: "./a//b/new", Size: 6},
		{Path: "resumable", ID: "id"},
		{Path: "over", Overwrite: true, Size: 6},
	} {
		u := tr.begin(t, spec)
		mustWrite(t, u, "abc")
		mustWrite(t, u, "")
		mustWrite(t, u, "def")
		if _, err := os.Lstat(tr.path(spec.Path)); !os.IsNotExist(err) {
			t.Errorf("%s is there before it is complete: %v", spec.Path, err)
		}
		if err := u.Commit(sumOf([]byte("abcdef"))); err != nil {
			t.Errorf("%s: %v", spec.Path, err)
		}
		if err := u.Discard(); err != nil {
			t.Errorf("%s: discard what is committed: %v", spec.Path, err)
		}
	}
	if err := tr.begin(t, files.UploadSpec{Path: "empty"}).Commit(sumOf(nil)); err != nil {
		t.Error(err)
	}
	u := tr.begin(t, files.UploadSpec{Path: "over", Overwrite: true})
	mustWrite(t, u, "new")
	tr.want(t, map[string]string{
		"plain": "abcdef", "a/b/new": "abcdef", "resumable": "abcdef", "over": "abcdef", "empty": "",
		stagedOf(t, tr): "new",
	})
	if err := u.Commit(sumOf([]byte("new"))); err != nil {
		t.Error(err)
	}
	tr.want(t, map[string]string{"plain": "abcdef", "a/b/new": "abcdef", "resumable": "abcdef", "over": "new", "empty": ""})
}

// stagedOf returns the name of the one file in the staging directory.
func stagedOf(t *testing.T, tr *tree) string {
	t.Helper()
	names, err := filepath.Glob(tr.path(".plugwire-uploads/*"))
	if err != nil || len(names) != 1 {
		t.Fatalf("staged: %v, %v; want one file", names, err)
	}
	return ".plugwire-uploads/" + filepath.Base(names[0])
}

func TestUploadRefuses(t *testing.T) {
	tr := newTree(t, files.WithMaxSize(1000))
	outside := t.TempDir()
	tr.write(t, "file", []byte("old"))
	tr.write(t, "dir/x", nil)
	tr.symlink(t, outside, "outdir")
	tr.symlink(t, filepath.Join(outside, "new"), "out")
	sum := sumOf(nil)
	for _, tt := range []struct {
		spec files.UploadSpec
		want codes.Code
	}{
		{files.UploadSpec{Path: "file"}, codes.AlreadyExists},
		{files.UploadSpec{Path: "out"}, codes.AlreadyExists},
		{files.UploadSpec{Path: "dir", Overwrite: true}, codes.FailedPrecondition},
		{files.UploadSpec{Path: "file/x"}, codes.FailedPrecondition},
		{files.UploadSpec{Path: "file/x/y"}, codes.FailedPrecondition},
		{files.UploadSpec{Path: "../x"}, codes.PermissionDenied},
		{files.UploadSpec{Path: "/x"}, codes.PermissionDenied},
		{files.UploadSpec{Path: "outdir/x"}, codes.PermissionDenied},
		{files.UploadSpec{Path: "outdir/y/x"}, codes.PermissionDenied},
		{files.UploadSpec{Path: ".plugwire-uploads/x"}, codes.PermissionDenied},
		{files.UploadSpec{Path: ""}, codes.InvalidArgument},
		{files.UploadSpec{Path: "x", Size: -1}, codes.InvalidArgument},
		{files.UploadSpec{Path: "x", Offset: -1}, codes.InvalidArgument},
		{files.UploadSpec{Path: "x", ID: "a/b"}, codes.InvalidArgument},
		{files.UploadSpec{Path: "x", ID: strings.Repeat("a", 65)}, codes.InvalidArgument},
		{files.UploadSpec{Path: "x", Prefix: sum}, codes.InvalidArgument},
		{files.UploadSpec{Path: "x", Offset: 1, Prefix: sum}, codes.InvalidArgument},
		{files.UploadSpec{Path: "x", Offset: 1, ID: "id"}, codes.InvalidArgument},
		{files.UploadSpec{Path: "x", Offset: 1, ID: "id", Prefix: sum}, codes.Aborted},
		{files.UploadSpec{Path: "x", Size: 1001}, codes.ResourceExhausted},
		{files.UploadSpec{Path: "x", Offset: 1001, ID: "id", Prefix: sum}, codes.ResourceExhausted},
	} {
		_, err := tr.Upload(t.Context(), tt.spec)
		t.Logf("%+v: %v", tt.spec, err)
		wantCode(t, err, tt.want)
	}
	_, err := tr.Received("x", "")
	wantCode(t, err, codes.InvalidArgument)
	_, err = tr.Received("../x", "id")
	wantCode(t, err, codes.PermissionDenied)
	os.Remove(tr.path("out"))
	os.Remove(tr.path("outdir"))
	tr.want(t, map[string]string{"file": "old", "dir/x": ""})
}

// After an error nothing is left, whether or not the upload could be resumed.
func TestUploadFails(t *testing.T) {
	for _, tt := range []struct {
		name string
		size int64
		data string
		sum  []byte
		want codes.Code
	}{
		{"wrong checksum", 0, "abc", sumOf([]byte("abd")), codes.DataLoss},
		{"no checksum", 0, "abc", nil, codes.InvalidArgument},
		{"too little", 4, "abc", sumOf([]byte("abc")), codes.InvalidArgument},
		{"too much", 2, "abc", sumOf([]byte("abc")), codes.InvalidArgument},
		{"too large", 0, strings.Repeat("x", 1001), nil, codes.ResourceExhausted},
	} {
		for _, id := range []string{"", "id"} {
			t.Run(tt.name+id, func(t *testing.T) {
				tr := newTree(t, files.WithMaxSize(1000))
				tr.write(t, "file", []byte("old"))
				u := tr.begin(t, files.UploadSpec{Path: "file", Overwrite: true, Size: tt.size, ID: id})
				err := u.Write([]byte(tt.data))
				if err == nil {
					err = u.Commit(tt.sum)
				}
				wantCode(t, err, tt.want)
				if err := u.Interrupt(); err != nil {
					t.Errorf("interrupt what has ended: %v", err)
				}
				tr.want(t, map[string]string{"file": "old"})
			})
		}
	}
}

func TestUploadResumes(t *testing.T) {
	tr := newTree(t)
	data := random(3 * files.ChunkSize)
	const first, second = files.ChunkSize + 7, 2 * files.ChunkSize
	spec := files.UploadSpec{Path: "d/file", ID: "id", Size: int64(len(data))}
	tr.mustReceive(t, spec.Path, spec.ID, 0)
	u := tr.begin(t, spec)
	mustWrite(t, u, string(data[:first]))
	if err := u.Interrupt(); err != nil {
		t.Fatal(err)
	}
	tr.mustReceive(t, spec.Path, spec.ID, first)
	tr.mustReceive(t, spec.Path, "other", 0)
	tr.mustReceive(t, "file", spec.ID, 0)

	// A plugin that was started later continues the upload; a caller may go
	// back a little.
	tr.Store = open(t, tr.dir)
	for _, offset := range []int64{first - 7, second} {
		tr.mustReceive(t, "./d//file", spec.ID, max(first, offset))
		spec.Offset, spec.Prefix = offset, sumOf(data[:offset])
		u = tr.begin(t, spec)
		mustWrite(t, u, string(data[offset:second]))
		if offset == second {
			mustWrite(t, u, string(data[second:]))
			if err := u.Commit(sumOf(data)); err != nil {
				t.Fatal(err)
			}
		} else if err := u.Interrupt(); err != nil {
			t.Fatal(err)
		}
	}
	tr.want(t, map[string]string{"d/file": string(data)})
	tr.mustReceive(t, spec.Path, spec.ID, 0)
}

func TestUploadOfAnotherVersion(t *testing.T) {
	tr := newTree(t)
	spec := files.UploadSpec{Path: "file", ID: "id"}
	u := tr.begin(t, spec)
	mustWrite(t, u, "abc")
	if err := u.Interrupt(); err != nil {
		t.Fatal(err)
	}
	spec.Offset, spec.Prefix = 2, sumOf([]byte("xy"))
	_, err := tr.Upload(t.Context(), spec)
	wantCode(t, err, codes.Aborted)
	tr.mustReceive(t, "file", "id", 0)
	tr.want(t, map[string]string{})
}

func TestInterruptKeepsOnlyWhatCanBeResumed(t *testing.T) {
	tr := newTree(t)
	u := tr.begin(t, files.UploadSpec{Path: "file"})
	mustWrite(t, u, "abc")
	if err := u.Interrupt(); err != nil {
		t.Error(err)
	}
	if err := tr.begin(t, files.UploadSpec{Path: "file", ID: "nothing-came"}).Interrupt(); err != nil {
		t.Error(err)
	}
	tr.want(t, map[string]string{})
}

// An upload that is cancelled while the plugin verifies the stored data loses
// nothing.
func TestUploadCanceledWhileItBegins(t *testing.T) {
	tr := newTree(t)
	spec := files.UploadSpec{Path: "file", ID: "id"}
	u := tr.begin(t, spec)
	mustWrite(t, u, "abc")
	if err := u.Interrupt(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	spec.Offset, spec.Prefix = 3, sumOf([]byte("abc"))
	_, err := tr.Upload(ctx, spec)
	wantCode(t, err, codes.Canceled)
	tr.mustReceive(t, "file", "id", 3)
}

// If two uploads have the same name, one wins without overwrite, and the last
// with it.
func TestTwoUploadsToTheSameName(t *testing.T) {
	tr := newTree(t)
	for _, overwrite := range []bool{false, true} {
		name := fmt.Sprint("file-", overwrite)
		a := tr.begin(t, files.UploadSpec{Path: name, Overwrite: overwrite, ID: "a"})
		b := tr.begin(t, files.UploadSpec{Path: name, Overwrite: overwrite, ID: "b"})
		mustWrite(t, a, "a")
		mustWrite(t, b, "b")
		if err := a.Commit(sumOf([]byte("a"))); err != nil {
			t.Error(err)
		}
		want := codes.AlreadyExists
		if overwrite {
			want = codes.OK
		}
		wantCode(t, b.Commit(sumOf([]byte("b"))), want)
	}
	tr.want(t, map[string]string{"file-false": "a", "file-true": "b"})
}

// After many uploads to one name, the file is one of the sent files as a whole.
func TestManyUploadsToTheSameName(t *testing.T) {
	tr := newTree(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			data := bytes.Repeat([]byte{byte('a' + i)}, 10_000)
			for range 10 {
				u, err := tr.Upload(t.Context(), files.UploadSpec{Path: "d/file", Overwrite: true})
				if err != nil {
					t.Error(err)
					return
				}
				for part := range 10 {
					if err := u.Write(data[part*1000 : part*1000+1000]); err != nil {
						t.Error(err)
					}
				}
				if err := u.Commit(sumOf(data)); err != nil {
					t.Error(err)
				}
				got, _, err := tr.read(t, "d/file", 0, nil)
				if err != nil || len(got) != len(data) || !bytes.Equal(got, bytes.Repeat(got[:1], len(got))) {
					t.Errorf("a mixture: %d bytes, %v", len(got), err)
				}
			}
		})
	}
	wg.Wait()
	if got, err := os.ReadFile(tr.path("d/file")); err != nil || len(got) != 10_000 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := os.Lstat(tr.path(".plugwire-uploads")); !os.IsNotExist(err) {
		t.Errorf("the staging directory is left: %v", err)
	}
}

func TestTheSameUploadTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTree(t)
		spec := files.UploadSpec{Path: "file", ID: "id"}
		u := tr.begin(t, spec)
		mustWrite(t, u, "abc")
		other := open(t, tr.dir) // another plugin must not remove it either
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := other.Upload(ctx, spec)
		wantCode(t, err, codes.DeadlineExceeded)
		_, err = other.Upload(t.Context(), spec)
		wantCode(t, err, codes.FailedPrecondition)

		began := make(chan error)
		go func() {
			u, err := other.Upload(t.Context(), spec)
			if err == nil {
				err = u.Discard()
			}
			began <- err
		}()
		if err := u.Interrupt(); err != nil {
			t.Fatal(err)
		}
		if err := <-began; err != nil {
			t.Errorf("after the first had ended: %v", err)
		}
		tr.want(t, map[string]string{})
	})
}

func TestOverwriteReplacesALink(t *testing.T) {
	tr := newTree(t)
	tr.write(t, "target", []byte("old"))
	tr.symlink(t, "target", "link")
	u := tr.begin(t, files.UploadSpec{Path: "link", Overwrite: true})
	mustWrite(t, u, "new")
	if err := u.Commit(sumOf([]byte("new"))); err != nil {
		t.Fatal(err)
	}
	tr.want(t, map[string]string{"target": "old", "link": "new"})
}

// If another file replaces the directory or the file while an upload is under
// way, the upload does not replace that file, and its error names it.
func TestUploadAfterTheTargetIsAnother(t *testing.T) {
	tr := newTree(t)
	for _, tt := range []struct {
		path, taken string
		dir         bool
		want        codes.Code
	}{
		{"a/b/file", "a", false, codes.FailedPrecondition},
		{"c/file", "c", false, codes.FailedPrecondition},
		{"d", "d", true, codes.FailedPrecondition},
	} {
		u := tr.begin(t, files.UploadSpec{Path: tt.path, Overwrite: true})
		mustWrite(t, u, "abc")
		if tt.dir {
			tr.write(t, tt.taken+"/x", nil)
		} else {
			tr.write(t, tt.taken, nil)
		}
		err := u.Commit(sumOf([]byte("abc")))
		t.Log(err)
		wantCode(t, err, tt.want)
	}
	tr.want(t, map[string]string{"a": "", "c": "", "d/x": ""})
}

func TestUploadAfterTheDirectoryIsGone(t *testing.T) {
	tr := newTree(t)
	tr.write(t, "dir/x", nil)
	u := tr.begin(t, files.UploadSpec{Path: "dir/file"})
	mustWrite(t, u, "abc")
	if err := os.RemoveAll(tr.path("dir")); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(sumOf([]byte("abc"))); err != nil {
		t.Error(err)
	}
	tr.want(t, map[string]string{"dir/file": "abc"})
}
