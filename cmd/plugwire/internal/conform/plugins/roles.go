package plugins

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

// roles are the processes that the rules need beside the plugin.
var roles = []conform.Role{
	{Name: "plugin-host", Main: hostMain},
	{Name: "plugin-stranger", Main: strangerMain},
}

// hostSpec is what the role of a host does, in JSON as its argument. The plugin gets the
// environment of the role.
type hostSpec struct {
	Command []string
	Dir     string
	// Session makes the plugin the leader of a session, as a Plugwire host does.
	Session bool
}

// witnessFD is the descriptor of the pipe that ends with the plugin.
const witnessFD = 3

// hostMain starts a plugin as a host does, passes on its standard output, and goes on until
// it is killed. Its first line is the number of the plugin's process. The plugin inherits
// the witness.
func hostMain(args []string) int {
	var spec hostSpec
	if err := json.Unmarshal([]byte(strings.Join(args, " ")), &spec); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cmd := exec.Command(spec.Command[0], spec.Command[1:]...)
	cmd.Dir = spec.Dir
	witness := os.NewFile(witnessFD, "witness")
	cmd.ExtraFiles = []*os.File{witness}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	setSession(cmd, spec.Session)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_ = witness.Close() // the plugin has it
	fmt.Println(cmd.Process.Pid)
	go func() { _, _ = io.Copy(os.Stderr, stderr) }() // until the plugin ends
	_, _ = io.Copy(os.Stdout, stdout)
	_ = cmd.Wait() // how it ended does not matter
	return 0
}

// strangerMain connects to a unix socket, sends bytes, and prints how much it could read from it: it
// runs as another user.
func strangerMain(args []string) int {
	conn, err := net.Dial("unix", args[0]) //nolint:noctx // a socket answers or refuses at once
	if err != nil {
		fmt.Println("dial:", err)
		return 0
	}
	defer conn.Close() //nolint:errcheck // only read from
	sent, err := hex.DecodeString(args[1])
	if err != nil {
		fmt.Println("arguments:", err)
		return 1
	}
	if _, err := conn.Write(sent); err != nil {
		fmt.Println(0)
		return 0
	}
	b, _ := io.ReadAll(io.LimitReader(conn, 1)) // an error is an end as well
	fmt.Println(strconv.Itoa(len(b)))
	return 0
}
