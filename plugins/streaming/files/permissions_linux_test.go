package files_test

import (
	"os"
	"runtime"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
)

// TestPermissionsOfAnotherUser is TestPermissions for root: its thread opens the
// file as another user.
func TestPermissionsOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can act as another user; TestPermissions is for others")
	}
	const nobody = 65534
	tr := newTree(t)
	tr.write(t, "file", nil)
	if err := os.Chmod(tr.path("file"), 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread ends with this goroutine
		if err := syscall.Setfsuid(nobody); err != nil {
			ended <- err
			return
		}
		_, err := tr.Download(t.Context(), "file", 0, nil)
		ended <- err
	}()
	wantCode(t, <-ended, codes.PermissionDenied)
}
