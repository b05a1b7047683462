// Package dev is the command for the author of a plugin: it builds the plugin on each
// save, swaps it in, and serves it to the real host.
package dev

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/forward"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/schema"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/target"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/supervise"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// command has the flags of the command.
type command struct {
	out          *output.Printer
	target       target.Flags
	build        string
	sources      []string
	goPlugin     bool
	hostServices []string
	quiet        bool
}

// New returns the command.
func New(out *output.Printer) *cobra.Command {
	c := &command{out: out}
	cmd := &cobra.Command{
		Use:   "dev [flags] PROGRAM|DIRECTORY [-- ARGUMENT...]",
		Short: "Build a plugin on each save, swap it in, and serve it to the real host",
		Long: `Dev starts a plugin and serves it to hosts that attach. When the program has changed, it
swaps in the new one: calls wait, and none fails. If a build or a start fails, it shows
why, and the old plugin goes on. It prints what to set so that the real host attaches,
and the host stays attached over all swaps. Ctrl-C ends it.

For a DIRECTORY with a Go program, it builds that program each time a file of the module
changes. For a PROGRAM it runs the command of -build when a file in -source changes, or
follows the program's file if there is no -build.`,
		Example: `  plugwire dev ./cmd/words-plugin
  plugwire dev -build 'make plugin' -source src ./bin/plugin -- -verbose
  plugwire dev -go-plugin -preset terraform ./terraform-provider-example`,
		RunE: func(cmd *cobra.Command, args []string) error {
			split := target.Split(args, cmd.ArgsLenAtDash())
			ref, rest, err := split.Take(func(before []string) bool { return len(before) == 0 })
			switch {
			case err != nil:
				return err
			case len(rest) > 0:
				return output.Usage("%q is one argument too many: arguments of the plugin come after --", rest[0])
			case ref.Attach != nil:
				return output.Usage("dev starts the plugin itself: give its program or its directory")
			case c.build != "" && len(c.sources) == 0:
				return output.Usage("-build needs -source: the files and directories that are built from")
			}
			return c.run(cmd.Context(), ref)
		},
	}
	c.target.Defaults.LogLevel = "debug"
	c.target.Add(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVar(&c.build, "build", "", "a `command` that builds the program, for the shell")
	flags.StringArrayVar(&c.sources, "source", nil, "a `file` or directory that is built from; may be repeated")
	flags.BoolVar(&c.goPlugin, "go-plugin", false, "serve hosts on go-plugin, such as Terraform")
	flags.StringArrayVar(&c.hostServices, "host-service", nil, "a `service` of the real host that the plugin calls; may be repeated")
	flags.BoolVar(&c.quiet, "quiet", false, "do not show calls")
	return cmd
}

// session is one run of the command.
type session struct {
	*command
	ref     target.Ref
	handle  *supervise.Handle
	watcher *supervise.Watcher
	// lastHost is the host that called last. It gets what the plugin calls.
	lastHost atomic.Pointer[grpc.ClientConnInterface]
}

func (c *command) run(ctx context.Context, ref target.Ref) error {
	s := &session{command: c, ref: ref}
	var watch []supervise.WatchOption
	build, err := s.prepareBuild()
	if err != nil {
		return err
	}
	defer os.RemoveAll(build.dir) //nolint:errcheck // a temporary directory; os.RemoveAll of no name does nothing
	if build.command != nil {
		s.show("building", build.String(), nil)
		if out, err := build.once(ctx).CombinedOutput(); err != nil {
			return &output.Error{Code: output.ExitFailed, Err: fmt.Errorf("%s: %w\n%s", build, err, out)}
		}
		watch = append(watch, supervise.WithBuild(build.command, build.sources...))
	}
	known, err := s.probe(ctx)
	if err != nil {
		return err
	}
	s.handle, err = supervise.Start(ctx, func(ctx context.Context) (*host.Plugin, error) {
		p, err := s.target.Open(ctx, s.ref, s.out, known.options...)
		if err != nil {
			return nil, err
		}
		return p.Plugin, nil
	}, supervise.WithListener(s.event), supervise.WithLogger(slog.New(slog.DiscardHandler))) // the events say the same
	if err != nil {
		return &output.Error{Code: output.ExitStart, Err: err}
	}
	stop := func(context.Context) error {
		if s.watcher == nil {
			return s.handle.Close()
		}
		return errors.Join(s.watcher.Close(), s.handle.Close(), os.RemoveAll(build.dir))
	}
	if s.watcher, err = supervise.Watch(s.handle, s.ref.Program(), watch...); err != nil {
		return errors.Join(err, stop(ctx))
	}
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), stop(ctx))
	}
	return s.serve(known, stop)
}

// firstStart is what the first start of the plugin has told.
type firstStart struct {
	protocol *protocol.Protocol
	options  []host.Option // of each later start: the services that the plugin calls
	foreign  bool
}

// probe starts the plugin once, and learns what it serves.
func (s *session) probe(ctx context.Context) (_ *firstStart, err error) {
	p, err := s.target.Open(ctx, s.ref, s.out)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	described, err := schema.FromReflection(ctx, p)
	if err != nil {
		return nil, &output.Error{Code: output.ExitFailed, Err: err}
	}
	defer described.Close()
	var descs []*grpc.ServiceDesc
	for _, d := range described.Services() {
		descs = append(descs, forward.Service(d, s.plugin, s.called("call")))
	}
	if len(descs) == 0 {
		return nil, &output.Error{Code: output.ExitFailed, Err: errors.New("the plugin serves nothing that its reflection describes")}
	}
	if err := described.Register(); err != nil {
		return nil, err
	}
	info := p.Info()
	name := info.Protocol
	if name == "" {
		name = "plugin" // a host on go-plugin asks for no name
	}
	known := &firstStart{protocol: protocol.New(name, info.Version, descs...), foreign: p.Foreign}
	var bindings []protocol.Binding
	for _, service := range s.hostServices {
		d, err := described.AnyService(service)
		if err != nil {
			return nil, output.Usage("-host-service: %w", err)
		}
		desc := forward.Service(d, s.host, s.called("callback"))
		bindings = append(bindings, protocol.Bind(protocol.New("callbacks."+service, 1, desc), struct{}{}))
	}
	if len(bindings) > 0 {
		known.options = []host.Option{host.WithServices(bindings...)}
	}
	return known, nil
}

// plugin is the target of calls.
func (s *session) plugin(ctx context.Context) (grpc.ClientConnInterface, error) {
	back := plugin.Host(ctx)
	s.lastHost.Store(&back)
	return s.handle, nil
}

var errNoHost = errors.New("no host has called the plugin yet, so nobody can answer it")

// host is the target of callbacks.
func (s *session) host(context.Context) (grpc.ClientConnInterface, error) {
	if back := s.lastHost.Load(); back != nil {
		return *back, nil
	}
	return nil, errNoHost
}

// serve serves the plugin to hosts that attach, until a signal. It does not return: that
// is what plugin.Main does.
func (s *session) serve(known *firstStart, stop func(context.Context) error) error {
	mode := "1"
	if s.goPlugin || known.foreign {
		mode = "go-plugin"
	}
	read, write, err := os.Pipe()
	if err != nil {
		return errors.Join(err, stop(context.Background()))
	}
	os.Stdout = write // what plugin.Main prints is shown as everything else
	go s.attachable(read)
	plugin.Main(protocol.Bind(known.protocol, struct{}{}),
		plugin.WithTransports(unix.New(), tcp.New()),
		plugin.WithLookupEnv(func(name string) (string, bool) {
			if name == "PLUGWIRE_DEBUG" {
				return mode, true
			}
			return "", false
		}),
		plugin.OnShutdown(stop))
	return nil
}

// attachable shows what makes a host attach, which is the first line.
func (s *session) attachable(r io.Reader) {
	lines := bufio.NewScanner(r)
	const longest = 128 << 10 // the value of an environment variable
	lines.Buffer(nil, longest)
	for lines.Scan() {
		s.show("serving", lines.Text(), nil)
	}
}

// called shows calls that have ended.
func (s *session) called(kind string) func(forward.Call) {
	return func(call forward.Call) {
		if !s.quiet {
			s.show(kind, fmt.Sprintf("%s, %v", call.Method, call.Duration.Round(10*time.Microsecond)), call.Err)
		}
	}
}

// event shows what happened to the plugin.
func (s *session) event(e supervise.Event) {
	text := e.Path
	if e.Plugin != nil {
		text = fmt.Sprintf("process %d", e.Plugin.Info().PID)
	}
	if _, failed := errors.AsType[*host.StartError](e.Err); failed && e.Kind == supervise.KindRefused {
		text, e.Err = text+", the old plugin goes on", nil // the event before has the error
	}
	if e.Delay > 0 {
		text = strings.TrimSpace(fmt.Sprintf("%s in %v", text, e.Delay))
	}
	s.show(string(e.Kind), text, e.Err)
}

// moment is what is shown, in JSON.
type moment struct {
	Time  time.Time `json:"time"`
	Event string    `json:"event"`
	Text  string    `json:"text,omitempty"`
	Error string    `json:"error,omitempty"`
}

// show shows what happened. There is no other place for an error of standard output.
func (s *session) show(event, text string, err error) {
	m := moment{Time: time.Now(), Event: event, Text: text}
	if err != nil {
		m.Error = err.Error()
	}
	if s.out.JSON {
		_ = s.out.Object(m)
		return
	}
	line := fmt.Sprintf("%s  %-12s  %s", m.Time.Format(time.TimeOnly), event, output.Safe(text))
	if m.Error != "" {
		line = strings.TrimRight(line, " ") + "  " + s.out.Bad(strings.ReplaceAll(m.Error, "\n", "\n    "))
	}
	_ = s.out.Marked(line + "\n")
}

// builder is how the program is built.
type builder struct {
	command *exec.Cmd // a template; nil if others build
	sources []string
	dir     string // a temporary directory for the program; empty for none
}

// String returns the command line.
func (b *builder) String() string { return strings.Join(b.command.Args, " ") }

// once returns the command for one run.
func (b *builder) once(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, b.command.Path, b.command.Args[1:]...)
	cmd.Dir = b.command.Dir
	return cmd
}

// prepareBuild returns how the program is built, and makes it the one of the reference.
func (s *session) prepareBuild() (*builder, error) {
	if s.build != "" {
		return &builder{command: shell(s.build), sources: s.sources}, nil
	}
	info, err := os.Stat(s.ref.Command[0])
	if err != nil || !info.IsDir() {
		return &builder{}, nil //nolint:nilerr // not a directory: a program, which the start looks for
	}
	source, err := filepath.Abs(s.ref.Command[0])
	if err != nil {
		return nil, err
	}
	module := source
	for !isFile(filepath.Join(module, "go.mod")) {
		if filepath.Dir(module) == module {
			return nil, output.Usage("%s is not in a Go module: give -build and -source, and the program", s.ref.Command[0])
		}
		module = filepath.Dir(module)
	}
	dir, err := os.MkdirTemp("", "plugwire-dev-")
	if err != nil {
		return nil, err
	}
	program := filepath.Join(dir, filepath.Base(source)+exe)
	cmd := exec.Command("go", "build", "-o", program, ".")
	cmd.Dir = source
	s.ref.Command = append([]string{program}, s.ref.Command[1:]...)
	sources := s.sources
	if len(sources) == 0 {
		sources = []string{module}
	}
	return &builder{command: cmd, sources: sources, dir: dir}, nil
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return !errors.Is(err, fs.ErrNotExist) && err == nil && info.Mode().IsRegular()
}
