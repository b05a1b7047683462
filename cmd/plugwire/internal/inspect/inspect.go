// Package inspect is the command that shows what a plugin is: what was negotiated, its
// services, its health, and how it was started and built.
package inspect

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/shirou/gopsutil/v4/process"
	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/schema"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/target"
)

// Report is what the command finds. Its JSON is the interface of -json: fields are only
// added.
type Report struct {
	Plugin      string           `json:"plugin"`
	PID         int              `json:"pid,omitempty"`
	Framework   string           `json:"framework"`
	Cookie      string           `json:"cookie,omitempty"` // how a cookie was found that the person has not given
	Protocol    string           `json:"protocol,omitempty"`
	Version     int              `json:"version,omitempty"`
	Transport   string           `json:"transport"`
	Skipped     string           `json:"skipped,omitempty"`
	Session     string           `json:"session"`
	Wire        string           `json:"wire"`
	Security    string           `json:"security"`
	Certificate *Certificate     `json:"certificate,omitempty"`
	Health      string           `json:"health"`
	Start       *Start           `json:"start,omitempty"` // nil for a plugin that ran already
	Memory      *Memory          `json:"memory,omitempty"`
	Build       *Build           `json:"build,omitempty"`
	Services    []schema.Service `json:"services"`
	Messages    []schema.Message `json:"messages"`
	NoServices  string           `json:"no_services,omitempty"` // why the services are not known
}

// Certificate describes a certificate of a plugin.
type Certificate struct {
	Subject   string    `json:"subject"`
	Key       string    `json:"key"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	SHA256    string    `json:"sha256"`
}

// Start is how long the start took.
type Start struct {
	Milliseconds float64 `json:"ms"`
	Phases       []Phase `json:"phases"`
}

// Phase is how long a part of the start took.
type Phase struct {
	Name         string  `json:"name"`
	Milliseconds float64 `json:"ms"`
}

// Memory is what the process has of the machine's memory.
type Memory struct {
	Resident uint64 `json:"resident_bytes"`
	Virtual  uint64 `json:"virtual_bytes"`
}

// Build is what the Go toolchain has recorded in the program.
type Build struct {
	Go         string            `json:"go"`
	Path       string            `json:"path"`
	Module     string            `json:"module,omitempty"`
	Version    string            `json:"version,omitempty"`
	Settings   map[string]string `json:"settings,omitempty"`
	Frameworks map[string]string `json:"frameworks,omitempty"` // versions of Plugwire, go-plugin and gRPC
}

// command has the flags of the command.
type command struct {
	out      *output.Printer
	target   target.Flags
	proto    bool
	messages bool
	watch    bool
	timeout  time.Duration
}

// New returns the command.
func New(out *output.Printer) *cobra.Command {
	c := &command{out: out}
	cmd := &cobra.Command{
		Use:   "inspect [flags] PLUGIN [-- ARGUMENT...]",
		Short: "Show what was negotiated with a plugin, its services, health, start and build",
		Long: `Inspect starts a plugin or attaches to it, and shows what was negotiated, its services
and messages, its health, how long each phase of the start took, its memory, and what
the Go toolchain has recorded in the program.

` + target.Usage,
		Example: `  plugwire inspect bin/hello-plugin
  plugwire inspect -preset terraform -proto ./terraform-provider-example > example.proto
  plugwire inspect -json -- ./plugin -verbose
  plugwire inspect -watch env`,
		RunE: func(cmd *cobra.Command, args []string) error {
			split := target.Split(args, cmd.ArgsLenAtDash())
			ref, rest, err := split.Take(func(before []string) bool { return len(before) == 0 })
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return output.Usage("%q is one argument too many: arguments of the plugin come after --", rest[0])
			}
			return c.run(cmd.Context(), ref)
		},
	}
	c.target.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.proto, "proto", false, "print the text of the .proto files of the services instead")
	cmd.Flags().BoolVar(&c.messages, "messages", false, "show the fields of all messages too")
	cmd.Flags().BoolVar(&c.watch, "watch", false, "print the health each time it changes, until Ctrl-C")
	cmd.Flags().DurationVar(&c.timeout, "timeout", 10*time.Second, "how long each question to the plugin may take")
	return cmd
}

func (c *command) run(ctx context.Context, ref target.Ref) (err error) {
	p, err := c.target.Open(ctx, ref, c.out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if c.watch {
		return c.watchHealth(ctx, p)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	s, err := schema.FromReflection(ctx, p)
	if err != nil && (c.proto || !errors.Is(err, schema.ErrNoReflection)) {
		return &output.Error{Code: output.ExitFailed, Err: err}
	}
	if s != nil {
		defer s.Close()
	}
	if c.proto {
		return c.printProto(s)
	}
	report := c.report(ctx, p, s)
	if c.out.JSON {
		return c.out.Object(report)
	}
	return c.print(report)
}

func (c *command) printProto(s *schema.Schema) error {
	files, err := s.Proto()
	if err != nil {
		return err
	}
	if c.out.JSON {
		return c.out.Object(struct {
			Files []schema.File `json:"files"`
		}{files})
	}
	for i, file := range files {
		if len(files) > 1 {
			if i > 0 {
				file.Text = "\n" + file.Text
			}
			file.Text = "// " + file.Name + "\n" + file.Text
		}
		if err := c.out.Text(file.Text); err != nil {
			return err
		}
	}
	return nil
}

// report asks the plugin. s is nil if the services are not known.
func (c *command) report(ctx context.Context, p *target.Plugin, s *schema.Schema) *Report {
	info := p.Info()
	r := &Report{
		Plugin: p.Label(), PID: info.PID, Framework: "Plugwire", Cookie: p.Recognized,
		Protocol: info.Protocol, Transport: info.Transport.String(), Skipped: info.Skipped,
		Session: info.Session, Wire: info.Wire, Security: info.Security,
		Certificate: certificate(p.Certificate),
		Memory:      memory(info.PID),
		Services:    []schema.Service{}, Messages: []schema.Message{},
	}
	if p.Foreign {
		r.Framework = "go-plugin, or another that speaks its handshake"
	}
	if p.VersionKnown {
		r.Version = info.Version
	}
	r.Health = healthOf(ctx, p)
	if len(p.Phases) > 0 && p.Ref.Attach == nil {
		r.Start = &Start{Milliseconds: milliseconds(info.StartDuration)}
		for _, phase := range p.Phases {
			r.Start.Phases = append(r.Start.Phases, Phase{string(phase.Name), milliseconds(phase.Duration)})
		}
	}
	if p.Path != "" {
		r.Build = build(p.Path)
	}
	if s == nil {
		r.NoServices = schema.ErrNoReflection.Error()
		return r
	}
	r.Services, r.Messages = s.DescribeServices(), s.DescribeMessages()
	return r
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}

// certificate describes the certificate of a plugin; nil for none. The host has parsed it
// before.
func certificate(der []byte) *Certificate {
	if der == nil {
		return nil
	}
	sum := sha256.Sum256(der)
	c := &Certificate{SHA256: hex.EncodeToString(sum[:])}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return c
	}
	c.Subject, c.NotBefore, c.NotAfter = parsed.Subject.String(), parsed.NotBefore, parsed.NotAfter
	c.Key = parsed.PublicKeyAlgorithm.String() + ", signed with " + parsed.SignatureAlgorithm.String()
	return c
}

// memory returns what a process has; nil if that is not known.
func memory(pid int) *Memory {
	if pid <= 0 {
		return nil
	}
	p, err := process.NewProcess(int32(pid))
	if err != nil {
		return nil
	}
	info, err := p.MemoryInfo()
	if err != nil {
		return nil
	}
	return &Memory{info.RSS, info.VMS}
}

// frameworks are the modules whose versions tell most about a plugin.
var frameworks = []string{"github.com/plugwire/plugwire/core", "github.com/hashicorp/go-plugin", "google.golang.org/grpc"}

// build reads what the Go toolchain has recorded; nil for a program that it did not
// build.
func build(path string) *Build {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil
	}
	b := &Build{Go: info.GoVersion, Path: info.Path, Module: info.Main.Path, Version: info.Main.Version, Settings: map[string]string{}, Frameworks: map[string]string{}}
	for _, s := range info.Settings {
		b.Settings[s.Key] = s.Value
	}
	for _, dep := range info.Deps {
		for _, name := range frameworks {
			if dep.Path == name {
				b.Frameworks[name] = dep.Version
			}
		}
	}
	return b
}

// ended returns the error of a plugin that ended while it was used, or nil.
func ended(p *target.Plugin, err error) error {
	if end := p.Err(); end != nil {
		return &output.Error{Code: output.ExitLost, Err: end}
	}
	if err == nil {
		return nil
	}
	if s, ok := status.FromError(err); ok && s.Code() != codes.OK {
		err = fmt.Errorf("%s (%s)", s.Message(), s.Code())
	}
	return &output.Error{Code: output.ExitFailed, Err: err}
}
