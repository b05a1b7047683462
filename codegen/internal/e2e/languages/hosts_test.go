//go:build unix

package languages_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/transport/unix"
)

// goPluginClient returns a host on go-plugin for one plugin.
func goPluginClient(cmd *exec.Cmd, logs io.Writer, mutualTLS bool) *goplugin.Client {
	return goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  goplugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "PLUGIN_MAGIC_COOKIE", MagicCookieValue: "plugwire"},
		Plugins:          goplugin.PluginSet{"greeter": connection{}},
		Cmd:              cmd,
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         mutualTLS,
		Logger:           hclog.New(&hclog.LoggerOptions{Output: logs}),
	})
}

// connection is a plugin of go-plugin whose client is the connection.
type connection struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (connection) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("only for hosts")
}

func (connection) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

func connect(client *goplugin.Client) (*grpc.ClientConn, error) {
	rpc, err := client.Client()
	if err != nil {
		return nil, err
	}
	dispensed, err := rpc.Dispense("greeter")
	if err != nil {
		return nil, err
	}
	return dispensed.(*grpc.ClientConn), nil
}

// hostVariable makes the test's program a host, of the framework that it names. The
// test can kill this host.
const hostVariable = "LANGUAGES_HOST"

// beHost launches the plugin with the command in the arguments. It prints the plugin's
// process, and waits for the end of its input.
func beHost(framework string) int {
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	var err error
	switch framework {
	case "plugwire":
		err = holdOurs(cmd)
	case "go-plugin":
		err = holdGoPlugin(cmd)
	default:
		err = fmt.Errorf("there is no host %q", framework)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func holdOurs(cmd *exec.Cmd) error {
	p, err := host.Launch(context.Background(), cmd, host.WithProtocols(greeter()), host.WithTransports(unix.New()))
	if err != nil {
		return err
	}
	defer p.Close()
	return hold(p, p.Info().PID)
}

func holdGoPlugin(cmd *exec.Cmd) error {
	client := goPluginClient(cmd, io.Discard, true)
	defer client.Kill()
	conn, err := connect(client)
	if err != nil {
		return err
	}
	return hold(conn, cmd.Process.Pid)
}

func hold(conn grpc.ClientConnInterface, pid int) error {
	if _, err := greet(context.Background(), conn, "Ada"); err != nil {
		return err
	}
	fmt.Println(pid)
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// killHost kills a host when its plugin has answered a call. It returns the plugin's
// process.
func killHost(t *testing.T, framework, dir string, l *language, tmp string) (pid int) {
	t.Helper()
	plugin := l.plugin(dir)
	killed := exec.Command(os.Args[0], plugin.Args...)
	killed.Env = append(os.Environ(), hostVariable+"="+framework, "TMPDIR="+tmp)
	killed.Stderr = t.Output()
	stdin, err := killed.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := killed.StdoutPipe()
	if err == nil {
		err = killed.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fscanln(bufio.NewReader(stdout), &pid)
	killErr := killed.Process.Kill()
	_ = killed.Wait() // the error says that the host was killed
	if err := errors.Join(err, killErr); err != nil {
		t.Fatal("what the host says: ", err)
	}
	return pid
}

// runs reports whether a process runs. A process that has ended may not be reaped yet.
func runs(pid int) bool {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return false
	}
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)) // a process that has ended has no program
	return err == nil || runtime.GOOS != "linux"
}
