package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/plugwire/plugwire/bench/internal/measure"
	"github.com/plugwire/plugwire/bench/internal/peers"
	"github.com/plugwire/plugwire/bench/internal/report"
)

// pluginPackages are the plugins of all peers.
const pluginPackages = "github.com/plugwire/plugwire/bench/internal/plugin/..."

// A part of a peer that takes longer than this, besides what it measures, hangs.
const (
	workerTimeout  = time.Minute
	workerPerSlice = 40 // many times what a part measures

	// stopGrace is what an interrupted worker may take to end its plugin.
	stopGrace = 3 * time.Second
)

// measureAll measures in rounds. In each, every part runs for one peer after the other,
// another one first each time. It returns what was measured, a line of facts about the
// run, and an error that joins those of all parts that failed.
func measureAll(ctx context.Context, cfg config, progress io.Writer) (_ *report.Results, facts string, err error) {
	chosen := slices.DeleteFunc(peers.All(), func(p *peers.Peer) bool { return !cfg.only.MatchString(p.Name) })
	parts := slices.DeleteFunc(slices.Clone(measure.Parts), func(p *measure.Part) bool { return !cfg.parts.MatchString(p.Name) })
	if len(chosen) == 0 || len(parts) == 0 {
		return nil, "", errors.New("no peer or no part has a name that matches; -list shows the names")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	r := runner{self: self, programs: cfg.programs, cfg: cfg}
	if r.programs == "" {
		if r.programs, err = os.MkdirTemp("", "bench-programs-"); err != nil {
			return nil, "", err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(r.programs)) }()
		_, _ = fmt.Fprintln(progress, "building the plugins")
		if err := build(ctx, r.programs); err != nil {
			return nil, "", err
		}
	}
	parts, note := r.withoutLoss(ctx, parts)
	if note != "" {
		_, _ = fmt.Fprintln(progress, note)
	}

	results := &report.Results{}
	for _, p := range chosen {
		results.Peers = append(results.Peers, p.Name)
	}
	began, loadBefore := time.Now(), load()
	var failures []error
	for round := range cfg.rounds {
		for i, part := range parts {
			_, _ = fmt.Fprintf(progress, "round %d of %d: %-17s%s\n", round+1, cfg.rounds, part.Name, remaining(began, round*len(parts)+i, cfg.rounds*len(parts)))
			for j := range chosen {
				peer := chosen[(j+round+i)%len(chosen)]
				if !part.Measures(peer) {
					continue
				}
				values, err := r.run(ctx, peer, part)
				switch {
				case ctx.Err() != nil:
					return nil, "", ctx.Err()
				case err != nil:
					err = fmt.Errorf("%s, %s, round %d: %w", peer.Name, part.Name, round+1, err)
					_, _ = fmt.Fprintln(progress, err)
					failures = append(failures, err)
				default:
					results.Add(peer.Name, round, values)
				}
			}
		}
	}
	facts = fmt.Sprintf("%s, %s/%s, %d processors; %d rounds of %s, %.0f s in all", runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.NumCPU(), cfg.rounds, cfg.slice, time.Since(began).Seconds())
	if loadBefore != "" {
		facts += "; load average " + loadBefore + " before, " + load() + " after"
	}
	facts += "."
	if note != "" {
		facts += " " + note
	}
	return results, facts, errors.Join(failures...)
}

// remaining estimates how long the rest takes.
func remaining(began time.Time, done, all int) string {
	if done == 0 {
		return ""
	}
	left := time.Duration(float64(time.Since(began)) / float64(done) * float64(all-done))
	return "about " + left.Round(time.Second).String() + " left"
}

// load returns the system's load average, or nothing where there is none.
func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(data), " ")
	return first
}

// build compiles the plugins into a directory.
func build(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", dir+string(os.PathSeparator), pluginPackages)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// runner starts workers.
type runner struct {
	self, programs string
	cfg            config
}

// run measures one part of a peer in a process of its own, so that nothing is left of
// what was measured before.
func (r runner) run(ctx context.Context, peer *peers.Peer, part *measure.Part) (measure.Values, error) {
	j := job{Peer: peer.Name, Part: part.Name, Lossy: part.Lossy, Config: measure.Config{Programs: r.programs, Slice: r.cfg.slice}}
	if r.cfg.profile != "" {
		j.Config.Profile = r.cfg.profile + "." + peer.Name + "." + part.Name
	}
	return r.work(ctx, j)
}

func (r runner) work(ctx context.Context, j job) (measure.Values, error) {
	ctx, cancel := context.WithTimeout(ctx, workerTimeout+workerPerSlice*r.cfg.slice)
	defer cancel()
	arg, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, r.self, workerArgument, string(arg))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopGrace
	if j.Lossy {
		ownNetwork(cmd)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	var values measure.Values
	if err := json.Unmarshal(out, &values); err != nil {
		return nil, fmt.Errorf("%w in %q", err, out)
	}
	return values, nil
}

// withoutLoss leaves out the parts that need a network that loses packets, if this
// system cannot make one. The note says why.
func (r runner) withoutLoss(ctx context.Context, parts []*measure.Part) (possible []*measure.Part, note string) {
	if !slices.ContainsFunc(parts, func(p *measure.Part) bool { return p.Lossy }) {
		return parts, ""
	}
	if _, err := r.work(ctx, job{Lossy: true}); err != nil {
		note = fmt.Sprintf("Left out, because no network that loses packets can be made here: the part loss (%v).", err)
		return slices.DeleteFunc(parts, func(p *measure.Part) bool { return p.Lossy }), note
	}
	return parts, ""
}
