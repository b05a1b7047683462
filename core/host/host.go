// Package host is the host's side: it launches a plugin as a process of its
// own, agrees with it on a protocol version, a transport and security, and
// hands out the one value through which it is called and stopped.
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
// Nothing is left behind: when a plugin ends, or this process does, in whatever
// way, its whole process group, its socket and its directory go too. There are
// limits when this process is killed. The directory, empty, stays until the next
// Launch sweeps it, as does the socket of a plugin that is itself killed or
// stopped (SIGSTOP) at that moment. And a plugin of another framework does not
// watch its host: on Linux the kernel kills it, but not what it has started; on
// macOS it lives on.
//
// Package plugintest starts a plugin inside a test's own process.
package host

import (
	"context"
	"os/exec"
	"time"
)

// DefaultStartTimeout bounds a start, from the launch of the process to the
// first possible call, when neither the context nor [WithStartTimeout] says
// otherwise. It is go-plugin's.
const DefaultStartTimeout = time.Minute

// DefaultGrace is how long [Plugin.Close] waits for a plugin to end before its
// process group is ended by force. Calls in flight have two thirds of it.
const DefaultGrace = 10 * time.Second

// Launch starts the plugin that cmd describes and returns when it can be
// called. [WithProtocols] and [WithTransports] are required.
//
// The command is a template: its Path, Args, Env, Dir, ExtraFiles and
// SysProcAttr are copied, and it is never started itself, so one value serves
// many launches. Variables of the handshake that this process inherited never
// reach the plugin; one that is set in Env is an error. On Unix the plugin leads a
// session of its own, so that it and what it starts have no terminal.
//
// A goroutine that is locked to its thread ([runtime.LockOSThread]) starts the plugin on
// that thread, as with os/exec: the plugin has the thread's namespaces. It outlives the
// thread.
//
// A plugin that a person starts to debug it prints an entry for the environment variable
// PLUGWIRE_ATTACH. If the variable has an entry for the plugin's name ([WithName]), or
// else for its protocol, Launch starts nothing: it attaches to that plugin, as [Attach]
// does, and logs that at level warn. An entry for a protocol is an error if plugins of
// several names speak the protocol. [WithoutAttach] ignores the variable.
//
// The context bounds the start only; the plugin lives until [Plugin.Close] or
// [Plugin.Shutdown], which the caller must call, or until it ends by itself. An
// error is a [*StartError], and nothing is left of the process then.
func Launch(ctx context.Context, cmd *exec.Cmd, opts ...Option) (*Plugin, error) {
	l := &launch{started: time.Now(), phase: PhasePrepare}
	p, err := l.run(ctx, cmd, opts)
	if err != nil {
		return nil, l.fail(err)
	}
	return p, nil
}
