//go:build unix

package pyvider_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
	"github.com/plugwire/plugwire/plugins/dataprocessor/processor"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// These are the roles of the test's program.
const (
	rolePlugin = "plugin"
	roleHost   = "host"
)

// exitCode is the exit code of a plugin that a test tells to exit.
const exitCode = 3

// bePlugin does not return.
func bePlugin() {
	plugin.Main(example.ServeDataProcessor(misbehaving{processor.New()}),
		plugin.WithTransports(unix.New(), tcp.New()),
		plugin.WithMaxMessageSize(processor.MaxMessageSize))
}

// misbehaving does what a test asks for with an option that the service does not
// have, like the class of that name in plugin.py.
type misbehaving struct{ *processor.Processor }

func (m misbehaving) ProcessData(ctx context.Context, request *example.ProcessRequest) (*example.ProcessResponse, error) {
	options := request.GetOptions()
	if _, ok := options["fail"]; ok {
		panic(request.GetData())
	}
	if _, ok := options["exit"]; ok {
		os.Exit(exitCode)
	}
	if _, ok := options["print"]; ok {
		fmt.Fprintln(os.Stdout, request.GetData())
		fmt.Fprintln(os.Stderr, request.GetData())
		delete(options, "print")
	}
	if text, ok := options["sleep"]; ok {
		d, err := time.ParseDuration(text)
		if err != nil {
			return nil, err
		}
		time.Sleep(d)
		delete(options, "sleep")
	}
	_, wait := options["wait"]
	delete(options, "wait")
	response, err := m.Processor.ProcessData(ctx, request)
	if wait && err == nil {
		select {
		case <-plugin.Stopping(ctx):
		case <-ctx.Done():
		}
	}
	return response, err
}

// beHost starts the plugin whose command its arguments are, prints the plugin's
// process and waits for the end of its input.
func beHost() int {
	p, err := host.Launch(context.Background(), exec.Command(os.Args[1], os.Args[2:]...),
		host.WithProtocols(example.DataProcessorProtocol), host.WithTransports(unix.New()))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer p.Close()
	fmt.Println(p.Info().PID)
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
