package plugins

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

// answeredPlugin is a plugin that has answered.
type answeredPlugin struct {
	*answer
	*conform.Process
	suite *suite
	c     *conform.Case
	offer offer
	// lifeline is the host's end of the lifeline; nil if the offer has none.
	lifeline *os.File
}

// mkdir makes a directory in that of the case.
func mkdir(c *conform.Case, name string) (string, error) {
	dir := filepath.Join(c.Dir, name)
	return dir, os.Mkdir(dir, 0o700)
}

// start starts the plugin, and fails unless it answers with something else than a
// refusal.
func (s *suite) start(ctx context.Context, c *conform.Case, o offer) (*answeredPlugin, error) {
	p, err := s.startAny(ctx, c, o)
	if err == nil && p.refusal != "" {
		return nil, conform.Fail("an answer", "a refusal: "+p.extended["error"], "see what the offer has, and what section 5 makes of the offer")
	}
	return p, err
}

// launch starts the process with an offer.
func (s *suite) launch(c *conform.Case, o *offer) (*conform.Process, *os.File, error) {
	var files []*os.File
	var lifeline *os.File
	if o.lifeline && o.plugwire != nil && hasLifeline {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, nil, err
		}
		defer r.Close() //nolint:errcheck // only read from, and by the plugin
		c.Own(w)
		files, lifeline = []*os.File{r}, w
		o.plugwire["lifeline"] = strconv.Itoa(lifelineFD)
	}
	if o.plugwire != nil && o.dir == "" {
		dir, err := os.MkdirTemp(c.Dir, "s")
		if err != nil {
			return nil, nil, err
		}
		o.dir = dir
	}
	if o.plugwire != nil && o.hostCert == nil && o.clientCert == "" {
		var err error
		if o.hostCert, err = newIdentity(curve256); err != nil {
			return nil, nil, err
		}
	}
	p, err := c.Start(conform.Start{Env: s.environ(c, o), Files: files})
	return p, lifeline, err
}

// startAny starts the plugin, and waits for its answer, which may be a refusal.
func (s *suite) startAny(ctx context.Context, c *conform.Case, o offer) (*answeredPlugin, error) {
	process, lifeline, err := s.launch(c, &o)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, s.startTimeout)
	defer cancel()
	// A plugin may put an empty line before the answer under a Plugwire host.
	printed, err := process.Stdout.Wait(bounded, func(b []byte) bool { return bytes.ContainsRune(bytes.TrimLeft(b, "\r\n"), '\n') })
	line, _, ended := strings.Cut(strings.TrimLeft(string(printed), "\r\n"), "\n")
	if err != nil {
		return nil, conform.Fail("a line on standard output", fmt.Sprintf("%q after %v", clip(line), s.startTimeout),
			"print the answer, end it with a line feed, and flush standard output")
	}
	if !ended && line == "" {
		return nil, conform.Fail("a line on standard output", "nothing: "+exitOf(ctx, process), "run the program with the same environment: its last lines say why it ends")
	}
	a, err := parseAnswer(strings.TrimRight(line, "\r"))
	if err != nil {
		return nil, conform.Fail("an answer of the form 1|version|network|address|grpc|certificate", fmt.Sprintf("%q: %v", clip(line), err),
			"compare the first line on standard output with the grammar; nothing else may be printed before it")
	}
	return &answeredPlugin{answer: a, Process: process, suite: s, c: c, offer: o, lifeline: lifeline}, nil
}

// exitOf says how a process that has closed its output has ended.
func exitOf(ctx context.Context, p *conform.Process) string {
	exit, err := p.Wait(ctx)
	if err != nil {
		return "it closes standard output, and goes on"
	}
	return exit.String()
}

// clip shortens a text of the plugin to what a person can read.
func clip(text string) string {
	const most = 200
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}

// refuses starts the plugin, which must refuse a Plugwire host with a code.
func (s *suite) refuses(ctx context.Context, c *conform.Case, o offer, code string) error {
	p, err := s.startAny(ctx, c, o)
	advice := fmt.Sprintf("print an answer with error=%s:... and the offer's instance, and exit with 1", code)
	if err != nil {
		return withAdvice(err, advice)
	}
	switch {
	case p.refusal == "":
		return conform.Fail("a refusal with code "+code, "the answer "+clip(p.line), advice)
	case p.refusal != code:
		return conform.Fail("a refusal with code "+code, "the code "+p.refusal, advice)
	case o.plugwire != nil && p.extended["instance"] != o.plugwire["instance"]:
		return conform.Fail("the instance of the offer", fmt.Sprintf("instance %q", p.extended["instance"]), "copy it unchanged: it tells the answer from another plugin's")
	}
	return p.exits(ctx, 1)
}

// withAdvice returns a failure with other advice.
func withAdvice(err error, advice string) error {
	if f, ok := errors.AsType[*conform.Failure](err); ok {
		return conform.Fail(f.Expected, f.Seen, advice)
	}
	return err
}

// exits waits until the process ends, which must be with a code.
func (p *answeredPlugin) exits(ctx context.Context, code int) error {
	return exits(ctx, p.suite, p.Process, code)
}

func exits(ctx context.Context, s *suite, p *conform.Process, code int) error {
	bounded, cancel := context.WithTimeout(ctx, s.grace)
	defer cancel()
	exit, err := p.Wait(bounded)
	want := fmt.Sprintf("the process ends with exit code %d", code)
	if err != nil {
		return conform.Fail(want, fmt.Sprintf("it runs after %v", s.grace), "end the process: return from main")
	}
	if exit.Code != code {
		return conform.Fail(want, exit.String(), "exit with that code: the host tells an orderly end from a crash by it")
	}
	return nil
}
