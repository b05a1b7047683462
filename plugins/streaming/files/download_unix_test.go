//go:build unix

package files_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/plugwire/plugwire/plugins/streaming/files"
)

// Opening a named pipe blocks until the other end is opened, and opening a
// device may have any effect.
func TestDownloadOfSpecialFiles(t *testing.T) {
	tr := newTree(t)
	if err := unix.Mkfifo(tr.path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(tr.dir) // the address of a socket must be short
	l, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	names := []string{"pipe", "socket"}
	if err := unix.Mknod(tr.path("device"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))); err == nil {
		names = append(names, "device")
	} else {
		t.Logf("without a device: %v", err) // needs root
	}
	for _, name := range names {
		_, err := tr.Download(t.Context(), name, 0, nil)
		wantCode(t, err, codes.FailedPrecondition)
		_, err = tr.Upload(t.Context(), files.UploadSpec{Path: name, Overwrite: true})
		wantCode(t, err, codes.FailedPrecondition)
	}
}

// A named pipe with the name of the staging directory does not block Open,
// which returns an error.
func TestStagingDirThatIsAPipe(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, ".plugwire-uploads"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := files.Open(dir)
	if err == nil || !strings.Contains(err.Error(), ".plugwire-uploads: not a directory") {
		t.Errorf("error %v", err)
	}
}

func TestPermissions(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything; TestPermissionsOfAnotherUser is for root")
	}
	tr := newTree(t)
	tr.write(t, "file", nil)
	if err := os.Chmod(tr.path("file"), 0); err != nil {
		t.Fatal(err)
	}
	_, err := tr.Download(t.Context(), "file", 0, nil)
	wantCode(t, err, codes.PermissionDenied)
}
