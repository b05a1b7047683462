package goplugin_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/plugwire/plugwire/core/host"
)

// TestBrokerOfAnotherUser checks that plugins of another user can connect to the socket
// of a host that runs as root.
func TestBrokerOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root may start a process as another user")
	}
	const nobody = 65534
	for _, release := range append([]string{plugwire}, releases...) {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(binary(release), "plugin")
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			var opts []host.Option
			if isBefore(release, "v1.5.2") {
				opts = append(opts, host.WithoutCertificate()) // whatever the umask is
			}
			p := launch(t, cmd, opts...)
			if err := callBack(t, p); err != nil {
				t.Error(err)
			}
		})
	}
}
