// Package host is the host's side. It launches a plugin as a process of its own and
// agrees with the plugin on a protocol version, a transport and security. It returns one
// value, by which the host calls and stops the plugin.
//
//	p, err := host.Launch(ctx, exec.Command("./dataprocessor-plugin"),
//		host.WithProtocols(example.DataProcessorProtocol),
//		host.WithTransports(unix.New()))
//	if err != nil {
//		return err
//	}
//	defer p.Close()
//	resp, err := example.NewDataProcessorClient(p).ProcessData(ctx, req)
//
// Nothing is left behind. When a plugin ends, or this process does, in whatever way, the
// plugin's whole process group, its socket and its directory go too. There are limits
// when this process is killed. The empty directory stays until the next Launch removes
// it. So does the socket of a plugin that is killed or stopped (SIGSTOP) at that moment.
// A plugin of another framework does not watch its host. On Linux the kernel ends that
// plugin, with its process group from Linux 5.6 on; on macOS the plugin lives on.
//
// Package plugintest starts a plugin inside a test's own process.
package host

import (
	"context"
	"os/exec"
	"time"
)

// DefaultStartTimeout bounds a start, from the launch of the process to the first
// possible call, if [WithStartTimeout] sets no other bound. go-plugin has the same
// default.
const DefaultStartTimeout = time.Minute

// DefaultGrace is how long [Plugin.Close] waits for a plugin to end before it ends the
// process group by force. Calls in flight have two thirds of that time.
const DefaultGrace = 10 * time.Second

// Launch starts the plugin that cmd describes and returns when it can be called.
// [WithProtocols] and [WithTransports] are required.
//
// The command is a template for any number of launches: its Path, Args, Env, Dir,
// ExtraFiles and SysProcAttr are copied, and the command itself is never started.
// Variables of the handshake that this process inherited never reach the plugin. One
// that is set in Env is an error. On Unix the plugin leads its own session, so the
// plugin and what it starts have no terminal.
//
// If the calling goroutine is locked to its thread ([runtime.LockOSThread]), the plugin
// is started on that thread, as with os/exec, and has the thread's namespaces. The
// plugin outlives the thread.
//
// A plugin that a person starts to debug it prints an entry for the environment
// variable PLUGWIRE_ATTACH. If the variable has an entry for the plugin's name
// ([WithName]), or else for its protocol, Launch starts nothing. It attaches to that
// plugin, like [Attach], and logs a warning. An entry for a protocol is an error if
// plugins of several names speak the protocol. [WithoutAttach] ignores the variable.
//
// The context bounds the start only. The plugin lives until it ends by itself, or until
// the caller calls [Plugin.Close] or [Plugin.Shutdown], as every caller must. An error
// is a [*StartError], and nothing of the process is left then.
func Launch(ctx context.Context, cmd *exec.Cmd, opts ...Option) (*Plugin, error) {
	l := &launch{started: time.Now(), phase: PhasePrepare}
	p, err := l.run(ctx, cmd, opts)
	if err != nil {
		return nil, l.fail(err)
	}
	return p, nil
}
