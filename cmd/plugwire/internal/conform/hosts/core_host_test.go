//go:build unix

package hosts_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// coreArg makes the test's program a host on Plugwire, with the patience of the other host.
const coreArg = "be-a-host-on-plugwire"

func coreMain(path string) int {
	if err := runCore(path); err != nil {
		fmt.Fprintln(os.Stderr, "host:", err)
		return 1
	}
	return 0
}

func runCore(path string) error {
	spoken := protocol.New("conform", 1, &grpc.ServiceDesc{ServiceName: "conform.Spoken"})
	served := protocol.New("conform-host", 1, &grpc.ServiceDesc{ServiceName: "conform.Served", HandlerType: (*any)(nil)})
	p, err := host.Launch(context.Background(), exec.Command(path),
		host.WithProtocols(spoken), host.WithTransports(unix.New(), tcp.New()),
		host.WithServices(protocol.Bind(served, struct{}{})), host.WithStartTimeout(hostStart))
	if err != nil {
		return err
	}
	call, cancelCall := context.WithTimeout(context.Background(), hostCall)
	defer cancelCall()
	err = p.Ping(call)
	grace, cancelGrace := context.WithTimeout(context.Background(), hostGrace)
	defer cancelGrace()
	return errors.Join(err, p.Shutdown(grace))
}
