package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/versioned/internal/violation"
)

const processHelp = `Sends each FILE, or standard input, to the plugin as one text, and prints the
results one after the other. A text is UTF-8 and has 1 byte to 64 KiB. A file
that fails is reported, and the others are processed; the exit code is then 1.

Operations, in the order in which -do names them:

  trim                  removes white space at both ends
  collapse              makes one space of each run of white space
  uppercase, lowercase  maps each character
  sort                  sorts the lines
  sort-down             sorts the lines, descending
  sort-unique           sorts the lines and keeps one of equal ones
  replace=OLD=NEW       puts NEW for each OLD

With version 1 of the protocol each text is a call. It has only trim, collapse,
uppercase, lowercase and sort, in this order and each once, and no metadata. With
version 2 up to 50 texts are one call.
`

// These are the JSON objects of the output.
type (
	result struct {
		Type       string            `json:"type"` // "result"
		File       string            `json:"file"`
		Result     string            `json:"result"`
		Statistics *statistics       `json:"statistics,omitempty"` // statistics of the result, in version 2
		Metadata   map[string]string `json:"metadata,omitempty"`
	}
	statistics struct {
		Characters int64 `json:"characters"`
		Words      int64 `json:"words"`
		Lines      int64 `json:"lines"`
	}
	failedFile struct {
		Type    string  `json:"type"` // "failed"
		File    string  `json:"file"`
		Message string  `json:"message"`
		Code    string  `json:"code,omitempty"` // gRPC's code, if the plugin refused it
		Fields  []field `json:"fields,omitempty"`
	}
	field struct {
		Field       string `json:"field"` // field of the request, in the chosen version
		Description string `json:"description"`
	}
)

// A processing is the process command, with its flags.
type processing struct {
	offer *offer
	job   job
	files []string

	session *hostcli.Session
}

func processCommand(o *offer) *hostcli.Command {
	p := &processing{offer: o}
	return &hostcli.Command{
		Name:    "process",
		Args:    "FILE|-...",
		Summary: "process files with the plugin and print the results",
		Help:    processHelp,
		Flags:   p.flags,
		Parse:   p.parse,
		Run:     p.run,
	}
}

func (p *processing) flags(flags *flag.FlagSet) {
	flags.Func("do", "`operation` to apply; repeatable", func(s string) error {
		o, err := parseOperation(s)
		if err != nil {
			return err
		}
		p.job.operations = append(p.job.operations, o)
		return nil
	})
	flags.Func("metadata", "`key=value` that comes back with each result; repeatable", func(s string) error {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return errors.New("want key=value")
		}
		if _, ok := p.job.metadata[key]; ok {
			return fmt.Errorf("duplicate key %s", key)
		}
		if p.job.metadata == nil {
			p.job.metadata = make(map[string]string)
		}
		p.job.metadata[key] = value
		return hostcli.CheckText(s)
	})
}

func (p *processing) parse(args []string) error {
	if len(args) == 0 {
		return errors.New("process needs a FILE, or - for standard input")
	}
	p.files = args
	return nil
}

func (p *processing) run(ctx context.Context, s *hostcli.Session) error {
	plugin, err := s.Start(ctx)
	if err != nil {
		return err
	}
	p.session = s
	v, err := p.offer.version(plugin.Info().Version)
	if err != nil {
		return err
	}
	c, err := v.newClient(plugin, p.job)
	if err != nil {
		return err
	}
	return send(ctx, c, p.files, p.show)
}

// show prints the outcome of one file.
func (p *processing) show(file string, o outcome) error {
	if o.err != nil {
		return p.showFailed(file, o.err)
	}
	r := result{Type: "result", File: file, Result: o.text, Metadata: o.metadata}
	if s := o.statistics; s != nil {
		r.Statistics = &statistics{s.GetCharacters(), s.GetWords(), s.GetLines()}
	}
	return p.session.Print(o.text, r)
}

func (p *processing) showFailed(file string, err error) error {
	f := failedFile{Type: "failed", File: file, Message: err.Error()}
	if s, ok := status.FromError(err); ok {
		f.Message, f.Code = s.Message(), s.Code().String()
		for _, v := range violation.Of(s) {
			f.Fields = append(f.Fields, field{v.GetField(), v.GetDescription()})
		}
	}
	if err := p.session.Note(file + ": " + hostcli.Message(err)); err != nil {
		return err
	}
	return p.session.Print("", f)
}
