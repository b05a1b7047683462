package runners

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/plugwire/plugwire/core/host"
)

// Crun starts plugins in containers by crun, or by another runtime with its command line.
// A plugin sees the root file system that it is given, and only processes of its own.
type Crun struct {
	// Program is crun with its global arguments.
	Program []string
	// Rootfs is the container's root file system. It holds the plugin's program, unless
	// one of Shared does.
	Rootfs string
	// Shared are directories of this machine that the container sees too, read-only.
	Shared []string
	// Runner starts crun.
	Runner host.Runner
}

var (
	_ host.Wrapper    = (*Crun)(nil)
	_ host.PathRunner = (*Crun)(nil)
)

// privateDir is where a container finds the host's directory for the plugin's socket.
const privateDir = "/run/plugwire"

// Unwrap implements [host.Wrapper]. crun passes files on, and a container without a user
// namespace keeps peer credentials.
func (c *Crun) Unwrap() host.Runner { return c.Runner }

// RunsPath implements [host.PathRunner]. The program is in the container's file system,
// so this runner cannot have a checksum of it.
func (c *Crun) RunsPath() bool { return false }

// Start implements [host.Runner].
func (c *Crun) Start(ctx context.Context, cfg host.StartConfig) (_ host.Process, err error) {
	bundle, err := os.MkdirTemp("", "crun-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(bundle))
		}
	}()
	cfg.SetPrivateDir(privateDir) // before the environment is copied
	spec, err := json.Marshal(c.spec(cfg))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), spec, 0o600); err != nil {
		return nil, err
	}
	program, err := exec.LookPath(c.Program[0])
	if err != nil {
		return nil, err
	}
	p := &container{
		id:      rand.Text(),
		runtime: slices.Concat([]string{program}, c.Program[1:], []string{"--root", filepath.Join(bundle, "state")}),
		dir:     cfg.PrivateDir,
	}
	cmd := cfg.Command
	cmd.Path = program
	cmd.Args = slices.Concat(p.runtime, []string{"run", "--bundle", bundle, "--preserve-fds", strconv.Itoa(len(cmd.ExtraFiles)), p.id})
	cmd.Env, cmd.Dir = os.Environ(), "" // crun's own
	p.remove = sync.OnceValue(func() error {
		return errors.Join(p.crun(context.Background(), "delete", "--force", p.id), os.RemoveAll(bundle))
	})
	if p.Process, err = c.Runner.Start(ctx, cfg); err != nil {
		return nil, err
	}
	return p, nil
}

// spec returns the container's config.json: see the OCI runtime specification.
func (c *Crun) spec(cfg host.StartConfig) any {
	type object = map[string]any
	cwd := "/"
	if cfg.Command.Dir != "" {
		cwd = cfg.Command.Dir
	}
	mounts := []object{
		{"destination": "/proc", "type": "proc", "source": "proc"},
		{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
	}
	for _, dir := range c.Shared {
		mounts = append(mounts, object{"destination": dir, "type": "bind", "source": dir, "options": []string{"rbind", "ro"}})
	}
	if cfg.PrivateDir != "" {
		mounts = append(mounts, object{"destination": privateDir, "type": "bind", "source": cfg.PrivateDir, "options": []string{"bind"}})
	}
	return object{
		"ociVersion": "1.0.2",
		"process": object{
			"args":            slices.Concat([]string{cfg.Command.Path}, cfg.Command.Args[min(1, len(cfg.Command.Args)):]),
			"env":             cfg.Command.Env,
			"cwd":             cwd,
			"noNewPrivileges": true,
			"user":            object{"uid": os.Getuid(), "gid": os.Getgid()},
		},
		"root":   object{"path": c.Rootfs, "readonly": true},
		"mounts": mounts,
		"linux":  object{"namespaces": []object{{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}}},
	}
}

// container is a [host.Process]: the process of crun, and what crun runs.
type container struct {
	host.Process // crun

	id      string
	runtime []string // crun and its global arguments
	dir     string   // the host's path of privateDir
	remove  func() error
}

var (
	_ host.Translator     = (*container)(nil)
	_ host.ProcessWrapper = (*container)(nil)
)

// Unwrap implements [host.ProcessWrapper].
func (p *container) Unwrap() host.Process { return p.Process }

// crun runs a command of crun about this container.
func (p *container) crun(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, p.runtime[0], slices.Concat(p.runtime[1:], args)...) //nolint:gosec // the program that the user names
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("crun %s: %w: %s", args[0], err, out)
	}
	return nil
}

// Wait implements [host.Process]. crun ends when the container has ended. If crun was
// killed, the container may go on, so Wait removes what is left of it.
func (p *container) Wait(ctx context.Context) (host.ExitStatus, error) {
	status, err := p.Process.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		return status, err // crun goes on
	}
	return status, errors.Join(err, p.remove())
}

// Terminate implements [host.Process].
func (p *container) Terminate(ctx context.Context) error { return p.crun(ctx, "kill", p.id, "TERM") }

// Kill implements [host.Process]. The first process of a container's PID namespace takes
// all others with it.
func (p *container) Kill(ctx context.Context) error {
	return errors.Join(p.crun(ctx, "delete", "--force", p.id), p.Process.Kill(ctx))
}

// PluginToHost implements [host.Translator].
func (p *container) PluginToHost(network, address string) (hostNetwork, hostAddress string, err error) {
	return moved(network, address, privateDir, p.dir)
}

// HostToPlugin implements [host.Translator].
func (p *container) HostToPlugin(network, address string) (pluginNetwork, pluginAddress string, err error) {
	return moved(network, address, p.dir, privateDir)
}

// moved returns the address of a unix socket that is in directory from here and in
// directory to there. Addresses of other networks are the same: the container has the
// network of this machine.
func moved(network, address, from, to string) (toNetwork, toAddress string, err error) {
	if network != "unix" {
		return network, address, nil
	}
	name, ok := strings.CutPrefix(address, from+"/")
	if !ok || from == "" || name != filepath.Base(name) {
		return "", "", fmt.Errorf("%s is not in %s, which both sides see", address, from)
	}
	return network, filepath.Join(to, name), nil
}
