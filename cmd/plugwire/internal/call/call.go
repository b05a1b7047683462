// Package call is the command that calls a method of a plugin with JSON, and prints what
// the plugin answers.
package call

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/metadata"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/message"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/schema"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/target"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
)

// unaryDeadline is how long a unary call may take if a person says nothing else. Nobody
// waits longer without doubt, and the error of a deadline says more than Ctrl-C.
const unaryDeadline = 30 * time.Second

// command has the flags of the command.
type command struct {
	out       *output.Printer
	target    target.Flags
	protos    []string
	protoDirs []string
	metadata  []string
	deadline  time.Duration
	defaults  bool
	verbose   bool
	serve     []string
}

// New returns the command.
func New(out *output.Printer) *cobra.Command {
	c := &command{out: out}
	cmd := &cobra.Command{
		Use:   "call [flags] PLUGIN SERVICE/METHOD [JSON|@FILE|-] [-- ARGUMENT...]",
		Short: "Call a method with JSON and print the answers",
		Long: `Call starts a plugin or attaches to it, calls a method, and prints each answer as JSON.

The request is JSON: the argument itself, the content of @FILE, or - for standard input.
Without it the request is empty. A method to which the host sends a stream takes any
number of JSON values, one after another, and sends each as soon as it is read. Answers
are printed as they come.

The messages are known from the plugin's reflection, or from .proto files (-proto).

With -serve SERVICE=FILE the host serves a service, which the plugin may call. FILE is a
JSON object: the name of a method, and its answer. An answer is a message, an array of
messages for a stream, or {"$error": {"code": "NotFound", "message": "..."}}. A method
that receives a stream answers each message with the next of the array; the last answer
is given again.

` + target.Usage,
		Example: `  plugwire call bin/hello-plugin hello.Greeter/Greet '{"name":"Ada"}'
  plugwire call -preset terraform ./terraform-provider-example tfplugin6.Provider/GetMetadata
  plugwire call ./chat-plugin chat.Chat/Join - < messages.json
  plugwire call hello.Greeter/Greet @request.json -- bin/hello-plugin -verbose`,
		RunE: func(cmd *cobra.Command, args []string) error {
			split := target.Split(args, cmd.ArgsLenAtDash())
			ref, rest, err := split.Take(isCall)
			if err != nil {
				return err
			}
			switch {
			case len(rest) == 0:
				return output.Usage("no method is named: give one as pkg.Service/Method")
			case !target.IsMethod(rest[0]):
				return output.Usage("%q is not the name of a method, such as pkg.Service/Method", rest[0])
			case len(rest) > 2:
				return output.Usage("%q is one argument too many: arguments of the plugin come after --", rest[2])
			}
			request := ""
			if len(rest) == 2 {
				request = rest[1]
			}
			return c.run(cmd.Context(), ref, rest[0], request)
		},
	}
	c.target.Add(cmd.Flags())
	flags := cmd.Flags()
	flags.StringArrayVar(&c.protos, "proto", nil, "a .proto `file` with the service, in place of reflection; may be repeated")
	flags.StringArrayVar(&c.protoDirs, "proto-path", nil, "`directory` in which -proto and its imports are looked up (default the file's own); may be repeated")
	flags.StringArrayVar(&c.metadata, "metadata", nil, "metadata of the call, as `NAME=VALUE`; may be repeated")
	flags.DurationVar(&c.deadline, "deadline", 0, "how long the call may take (default 30s for a unary method, no bound for a stream)")
	flags.BoolVar(&c.defaults, "defaults", false, "print fields that have their default value too")
	flags.BoolVar(&c.verbose, "verbose", false, "print the metadata of the answer and the time of the call on standard error")
	flags.StringArrayVar(&c.serve, "serve", nil, "serve a service to the plugin, with answers from a file, as `SERVICE=FILE`; may be repeated")
	return cmd
}

// isCall reports whether the arguments before -- name a method and no plugin.
func isCall(before []string) bool {
	switch len(before) {
	case 1:
		return target.IsMethod(before[0])
	case 2:
		return target.IsMethod(before[0]) && !target.IsMethod(before[1])
	default:
		return false
	}
}

func (c *command) run(ctx context.Context, ref target.Ref, name, request string) (err error) {
	header, err := c.header()
	if err != nil {
		return err
	}
	in, err := message.Open(request, os.Stdin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	var s *schema.Schema
	if len(c.protos) > 0 {
		if s, err = schema.FromFiles(ctx, c.protos, c.protoDirs); err != nil {
			return output.Usage("-proto: %w", err)
		}
	}
	callbacks, err := newCallbacks(c.serve, c.out)
	if err != nil {
		return err
	}
	p, err := c.target.Open(ctx, ref, c.out, callbacks.options()...)
	if err != nil {
		return err
	}
	defer func() { err = closeAfter(err, p) }()
	if s == nil {
		if s, err = schema.FromReflection(ctx, p); err != nil {
			return &output.Error{Code: output.ExitFailed, Err: err}
		}
	}
	defer s.Close()
	callbacks.know(s)
	method, err := s.Method(name)
	if err != nil {
		return output.Usage("%w", err)
	}
	if err := callbacks.check(s); err != nil {
		return err
	}
	deadline := c.deadline
	if deadline == 0 && schema.Kind(method) == protocol.Unary {
		deadline = unaryDeadline
	}
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(ctx, header))
	if deadline > 0 {
		ctx, cancel = context.WithTimeout(ctx, deadline)
	}
	defer cancel()
	call := &invocation{command: c, plugin: p, schema: s, method: method, in: in}
	return call.run(ctx)
}

// closeAfter stops the plugin. If the plugin ended in the middle of the call, the error of
// the call has said so already.
func closeAfter(err error, p *target.Plugin) error {
	closeErr := p.Close()
	if err != nil {
		if _, ended := errors.AsType[*host.ExitError](err); ended {
			return err
		}
	}
	return errors.Join(err, closeErr)
}

// header returns the metadata of the call. Values of names that end in -bin are bytes,
// which gRPC sends in base64 itself.
func (c *command) header() (metadata.MD, error) {
	md := metadata.MD{}
	for _, entry := range c.metadata {
		name, value, ok := strings.Cut(entry, "=")
		if !ok || name == "" {
			return nil, output.Usage("-metadata %q: want NAME=VALUE", entry)
		}
		md.Append(name, value)
	}
	return md, nil
}
