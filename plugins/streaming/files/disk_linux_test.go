package files_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/streaming/files"
)

// diskEnv names the part of a test that its process runs with a disk or a limit
// of its own.
const diskEnv = "STREAMING_TEST_DISK"

// room is how much room there is.
const room = 1 << 20

// TestDisk starts a process for each part. Only that process gets the disk or the
// limit.
func TestDisk(t *testing.T) {
	switch kind := os.Getenv(diskEnv); kind {
	case "":
	case "read-only":
		readOnly(t)
		return
	case "no links", "no links, no exclusive rename":
		noLinks(t, kind != "no links")
		return
	default:
		fillUp(t, kind)
		return
	}
	mounts := &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	for _, tt := range []struct {
		name string
		attr *syscall.SysProcAttr
	}{
		{"full disk", mounts},
		{"full file", nil},
		{"read-only", mounts},
		{"no links", nil},
		{"no links, no exclusive rename", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), self, "-test.run", "^TestDisk$", "-test.v")
			cmd.Env = append(os.Environ(), diskEnv+"="+tt.name)
			cmd.SysProcAttr = tt.attr
			output, err := cmd.CombinedOutput()
			if _, ran := err.(*exec.ExitError); err != nil && !ran { //nolint:errorlint // Wait's own
				t.Skip("this system lets nobody make a namespace to mount a disk in: ", err)
			}
			if err != nil {
				t.Errorf("%v\n%s", err, output)
			}
			if bytes.Contains(output, []byte("--- SKIP")) {
				t.Skipf("%s", output)
			}
		})
	}
}

// readOnly serves files from a read-only disk, even with unfinished uploads on it.
func readOnly(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	for _, name := range []string{"file", ".plugwire-uploads/x.temp"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	tr := &tree{open(t, dir), dir}
	if data, _, err := tr.read(t, "file", 0, nil); err != nil || string(data) != "data" {
		t.Errorf("%q, %v", data, err)
	}
	_, err := tr.Upload(t.Context(), files.UploadSpec{Path: "new"})
	t.Log(err)
	wantCode(t, err, codes.PermissionDenied)
}

func fillUp(t *testing.T, kind string) {
	t.Helper()
	dir := t.TempDir()
	if kind == "full disk" {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprint("size=", room)); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(dir, 0)
	} else {
		limit := unix.Rlimit{Cur: room, Max: room}
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
	}
	store, err := files.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := os.WriteFile(filepath.Join(dir, "old"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	tr := &tree{store, dir}
	for _, id := range []string{"", "id"} {
		u := tr.begin(t, files.UploadSpec{Path: "old", Overwrite: true, ID: id})
		for range 2 * room / files.ChunkSize {
			if err = u.Write(random(files.ChunkSize)); err != nil {
				break
			}
		}
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("error %v, want ResourceExhausted", err)
		}
		t.Log(err)
		tr.want(t, map[string]string{"old": "old"})
	}
	// There is room again.
	u := tr.begin(t, files.UploadSpec{Path: "new"})
	mustWrite(t, u, string(random(room/2)))
	if err := u.Commit(sumOf(random(room / 2))); err != nil {
		t.Error(err)
	}
}
