package files_test

import (
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

// fullEnv has the process of a test upload more than there is room for, on a
// disk or in a file of its own.
const fullEnv = "STREAMING_TEST_FULL"

// room is how much room there is.
const room = 1 << 20

// TestFull has a process of its own each, which alone gets the disk or the
// limit.
func TestFull(t *testing.T) {
	if kind := os.Getenv(fullEnv); kind != "" {
		fillUp(t, kind)
		return
	}
	for _, tt := range []struct {
		name string
		attr *syscall.SysProcAttr
	}{
		{"disk", &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}},
		{"file", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), self, "-test.run", "^TestFull$", "-test.v")
			cmd.Env = append(os.Environ(), fullEnv+"="+tt.name)
			cmd.SysProcAttr = tt.attr
			output, err := cmd.CombinedOutput()
			if _, ran := err.(*exec.ExitError); err != nil && !ran { //nolint:errorlint // Wait's own
				t.Skip("this system lets nobody make a namespace to mount a disk in: ", err)
			}
			if err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}

func fillUp(t *testing.T, kind string) {
	t.Helper()
	dir := t.TempDir()
	if kind == "disk" {
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
