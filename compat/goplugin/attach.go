package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
)

// attach attaches to a plugin that runs already.
func (s *launch) attach(ctx context.Context) error {
	c := s.client.config
	to := c.Reattach
	switch {
	case to.Protocol == ProtocolNetRPC || to.Protocol == ProtocolInvalid:
		return fmt.Errorf("unknown server protocol: %s: %w", to.Protocol, errNetRPC)
	case to.Addr == nil:
		return fmt.Errorf("%w: ReattachConfig.Addr is not set", ErrProcessNotFound)
	}
	version := to.ProtocolVersion
	if version == 0 {
		version = c.version()
	}
	set, ok := c.VersionedPlugins[version]
	if !ok || c.Plugins != nil {
		set = c.Plugins
	}
	s.sets = map[int]PluginSet{version: set}
	opts, err := s.options("reattached")
	if err != nil {
		return err
	}
	if c.TLSConfig != nil {
		opts = append(opts, host.WithTLSConfig(c.TLSConfig))
	} else {
		opts = append(opts, host.WithPlaintext())
	}
	if to.ReattachFunc != nil {
		return s.adopt(ctx, version, opts)
	}
	var info handshake.AttachInfo
	text, err := json.Marshal(map[string]any{
		"Protocol": to.Protocol, "ProtocolVersion": version, "Pid": to.Pid, "Test": to.Test,
		"Addr": map[string]string{"Network": to.Addr.Network(), "String": to.Addr.String()},
	})
	if err == nil {
		err = json.Unmarshal(text, &info)
	}
	if err != nil {
		return err
	}
	s.trace.network, s.trace.address, s.trace.id = to.Addr.Network(), to.Addr.String(), strconv.Itoa(to.Pid)
	if to.Test {
		s.trace.id = "" // the plugin ends itself
	}
	s.plugin, err = host.Attach(ctx, info, opts...)
	return notFound(err)
}

// notFound adds ErrProcessNotFound to an error that says that nothing is there.
func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ESRCH) {
		return &startError{text: ErrProcessNotFound.Error(), is: ErrProcessNotFound, err: err}
	}
	return err
}

// adopt takes over a plugin that ReattachFunc finds. To the host, it is a plugin that starts
// and answers at once.
func (s *launch) adopt(ctx context.Context, version int, opts []host.Option) error {
	to := s.client.config.Reattach
	answer := fmt.Sprintf("%d|%d|%s|%s|%s|\n", CoreProtocolVersion, version, to.Addr.Network(), to.Addr.String(), ProtocolGRPC)
	runner := &adopter{find: to.ReattachFunc, answer: answer}
	if s.client.config.TLSConfig == nil {
		opts = append(opts, host.WithoutCertificate())
	}
	var err error
	s.plugin, err = host.Launch(ctx, noCommand(), append(opts, host.WithRunner(runner))...)
	if err != nil {
		return notFound(s.explain(err))
	}
	return nil
}

// adopter is a [host.Runner] of a plugin that runs already.
type adopter struct {
	find   reattachFunc
	answer string // the line with which the plugin answers
}

var (
	_ host.Runner           = (*adopter)(nil)
	_ host.CredentialKeeper = (*adopter)(nil)
)

// KeepsCredentials implements [host.CredentialKeeper]. Nothing says which user the plugin has.
func (*adopter) KeepsCredentials() bool { return false }

// Start implements [host.Runner].
func (a *adopter) Start(context.Context, host.StartConfig) (host.Process, error) {
	found, err := a.find()
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, errors.New("ReattachFunc returned neither a runner nor an error")
	}
	p := &adoptedProcess{runnerProcess: runnerProcess{attachedRunner: found}, ended: make(chan struct{})}
	p.stdout = &silentAfter{Reader: strings.NewReader(a.answer), ended: p.ended}
	p.stderr = &silentAfter{Reader: strings.NewReader(""), ended: p.ended}
	go p.wait() //nolint:gosec // the plugin may outlive the start, whose context this is
	return p, nil
}

// adoptedProcess is a [host.Process] that was there before. Its output ends with it.
type adoptedProcess struct {
	runnerProcess
	ended  chan struct{} // closed when it has ended
	status host.ExitStatus
	err    error // like status, set before ended is closed
}

func (p *adoptedProcess) wait() {
	p.status, p.err = p.runnerProcess.Wait(context.Background())
	close(p.ended)
}

// Wait implements [host.Process].
func (p *adoptedProcess) Wait(ctx context.Context) (host.ExitStatus, error) {
	select {
	case <-p.ended:
		return p.status, p.err
	case <-ctx.Done():
		return host.ExitStatus{}, context.Cause(ctx)
	}
}

// silentAfter is an output that has a text, and after it nothing until it ends.
type silentAfter struct {
	io.Reader
	ended <-chan struct{}

	once   sync.Once
	closed chan struct{}
}

// Read implements [io.Reader].
func (s *silentAfter) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if n > 0 || err == nil {
		return n, nil
	}
	select {
	case <-s.ended:
	case <-s.closing():
	}
	return 0, io.EOF
}

func (s *silentAfter) closing() chan struct{} {
	s.once.Do(func() { s.closed = make(chan struct{}) })
	return s.closed
}

// Close implements [io.Closer]. The host calls it once.
func (s *silentAfter) Close() error {
	close(s.closing())
	return nil
}

// noCommand is the command of a plugin that no command starts.
func noCommand() *exec.Cmd {
	return &exec.Cmd{Path: "plugin", Args: []string{"plugin"}, Env: []string{}}
}
