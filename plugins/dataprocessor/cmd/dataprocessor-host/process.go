package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
	"github.com/plugwire/plugwire/plugins/hostcli"
)

const processHelp = `Sends each line of FILE, or of standard input, to the plugin and prints the
results in the order of the lines. Up to 64 lines are on their way at a time.
With -query the matching stored results follow, newest first, as lines of id,
time and text, separated by tabs; with -json the plugin's status is last.

A line ends with LF or CR LF, is UTF-8 and has at most 2 MiB. An empty line is not
sent, its result is an empty line. The first line that fails ends the command; the
results of all lines before it have then been printed.

Options of the plugin, each "true" or "false", in the order of application:
trim, uppercase, lowercase, reverse, sha256.
`

// These are the JSON objects of the output.
type (
	result struct {
		Type           string  `json:"type"` // "result"
		Line           int     `json:"line"`
		Result         string  `json:"result"`
		StatusCode     int32   `json:"status_code"`
		ProcessingTime float64 `json:"processing_time"` // seconds
	}
	storedResult struct {
		Type      string `json:"type"` // "stored"
		ID        string `json:"id"`
		Data      string `json:"data"`
		Timestamp int64  `json:"timestamp"` // seconds since the Unix epoch
	}
)

// A processing is the process command, with its flags.
type processing struct {
	options map[string]string
	tags    []string
	query   *string // nil means no query
	limit   int32
	input   string // a file's name, or "-"

	session *hostcli.Session
	client  example.DataProcessorClient
}

func processCommand() *hostcli.Command {
	p := &processing{options: map[string]string{}}
	return &hostcli.Command{
		Name:    "process",
		Args:    "FILE|-",
		Summary: "send each line of a file to the plugin and print the results",
		Help:    processHelp,
		Flags:   p.flags,
		Parse:   p.parse,
		Run:     p.run,
	}
}

func (p *processing) flags(flags *flag.FlagSet) {
	flags.Func("option", "option of the plugin as `name=value`; repeatable", func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return errors.New("want name=value")
		}
		if _, ok := p.options[name]; ok {
			return fmt.Errorf("duplicate option %s", name)
		}
		p.options[name] = value
		return hostcli.CheckText(s)
	})
	flags.Func("tag", "`tag` to put before each result; repeatable", func(s string) error {
		p.tags = append(p.tags, s)
		return hostcli.CheckText(s)
	})
	flags.Func("query", "afterwards print the stored results that contain this `text`; empty matches all", func(s string) error {
		p.query = &s
		return hostcli.CheckText(s)
	})
	flags.Func("limit", "most stored results to print, a `number`; 0 means the plugin's default of 10", func(s string) error {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 0 {
			return fmt.Errorf("want a number from 0 to %d", math.MaxInt32)
		}
		p.limit = int32(n)
		return nil
	})
}

func (p *processing) parse(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("process needs one FILE, or - for standard input, and has %d", len(args))
	}
	p.input = args[0]
	return nil
}

func (p *processing) run(ctx context.Context, s *hostcli.Session) error {
	// The file is opened before the plugin starts, so that a misspelt name
	// fails at once.
	input, err := hostcli.Open(ctx, p.input)
	if err != nil {
		return err
	}
	defer input.Close()
	plugin, err := s.Start(ctx)
	if err != nil {
		return err
	}
	p.session, p.client = s, example.NewDataProcessorClient(plugin)
	if err := p.send(ctx, input); err != nil {
		return err
	}
	if p.query != nil {
		if err := p.showStored(ctx); err != nil {
			return err
		}
	}
	if s.JSON() {
		return showStatus(ctx, p.client, s)
	}
	return nil
}

// send sends the lines of input and prints their results.
func (p *processing) send(ctx context.Context, input *hostcli.Input) error {
	bar := hostcli.NewProgress(input.Size(), os.Stdout, os.Stderr)
	defer bar.Remove()
	lines := pipeline{
		maxCalls: maxCalls,
		maxBytes: maxBytes,
		send: func(ctx context.Context, text string) (*example.ProcessResponse, error) {
			return p.client.ProcessData(ctx, &example.ProcessRequest{Data: text, Options: p.options, Tags: p.tags})
		},
		print: func(l hostcli.Line, r *example.ProcessResponse) error {
			bar.MakeRoom()
			if err := p.session.Print(r.GetResult()+"\n", result{"result", l.Number, r.GetResult(), r.GetStatusCode(), r.GetProcessingTime()}); err != nil {
				return err
			}
			bar.Add(int64(l.Size))
			return nil
		},
	}
	return lines.run(ctx, input)
}

func (p *processing) showStored(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream if the loop ends early
	stream, err := p.client.StreamResults(ctx, &example.StreamRequest{Query: *p.query, Limit: p.limit})
	if err != nil {
		return err
	}
	for {
		item, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		at := time.Unix(item.GetTimestamp(), 0).Format(time.RFC3339)
		if err := p.session.Print(item.GetId()+"\t"+at+"\t"+item.GetData()+"\n",
			storedResult{"stored", item.GetId(), item.GetData(), item.GetTimestamp()}); err != nil {
			return err
		}
	}
}
