// Package testrun runs go test for a whole repository and reports on it. It prints a
// line for each finished package, and at the end the failed tests, their reasons, and
// the commands that run them again. Begin with [New]. It does not decide what to test.
package testrun

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A Report runs commands and collects their results. Its methods are not safe
// for concurrent use.
type Report struct {
	screen  *screen
	verbose bool
	prefix  string // prefix of import paths, left out in tables

	mu       sync.Mutex           // guards the fields below and those of the runs
	runs     []*run               // commands whose packages are not all printed
	since    map[string]time.Time // start times of the running packages
	done     int
	passed   int
	failed   int
	skips    skips
	failures []failure
	dumpDir  string
}

// pkg is a package while its tests run, and until the packages before it have
// ended.
type pkg struct {
	order    []string           // tests, as they began
	outputs  map[string]*output // by test; the empty name is for the package itself
	ended    map[string]string  // action with which a test ended
	held     strings.Builder    // lines to print when the packages before it have ended
	done     bool
	failures []failure
}

// Config configures a report.
type Config struct {
	Output  io.Writer
	Width   int    // columns of the terminal, 0 if Output is not a terminal
	Verbose bool   // also print the output of each test, at once
	Prefix  string // beginning of import paths that tables leave out
}

// New returns a report without results.
func New(c Config) *Report {
	return &Report{
		screen:  &screen{out: c.Output, width: c.Width},
		verbose: c.Verbose,
		prefix:  c.Prefix,
		since:   make(map[string]time.Time),
	}
}

// status is the line of progress.
func (r *Report) status() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := fmt.Sprintf("%d packages, %d tests passed", r.done, r.passed)
	if r.failed > 0 {
		s += fmt.Sprintf(", %d FAILED", r.failed)
	}
	if len(r.since) > 0 {
		s += "; now " + running(r.since, time.Now())
	}
	return s
}

// short returns the name of a package in tables.
func (r *Report) short(path string) string { return strings.TrimPrefix(path, r.prefix) }

func (r *Report) take(e event, of *run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.Action {
	case "build-output":
		if of.builds[e.ImportPath] == nil {
			of.builds[e.ImportPath] = new(output)
		}
		of.builds[e.ImportPath].add(e.Output)
		return
	case "build-fail":
		return
	}
	p := of.packages[e.Package]
	if p == nil {
		p = &pkg{outputs: make(map[string]*output), ended: make(map[string]string)}
		of.packages[e.Package] = p
		of.queue = append(of.queue, p)
		r.since[r.short(e.Package)] = time.Now()
	}
	r.record(e, p, of)
	r.flush()
}

func (r *Report) record(e event, p *pkg, of *run) {
	switch {
	case e.Action == "output":
		if r.verbose {
			p.held.WriteString(e.Output)
		}
		p.add(e.Test, e.Output)
	case !e.ended():
	case e.Test != "":
		p.ended[e.Test] = e.Action
		if e.Action == "pass" {
			r.passed++
			delete(p.outputs, e.Test)
		}
		if e.Action == "skip" {
			r.skips.add(FirstMessage(p.outputs[e.Test].String()), r.short(e.Package), e.Test)
		}
	default:
		r.end(e, p, of)
	}
}

func (p *pkg) add(test, text string) {
	if p.outputs[test] == nil {
		p.outputs[test] = new(output)
		p.order = append(p.order, test)
	}
	p.outputs[test].add(text)
}

// end stores the package's line and its failures.
func (r *Report) end(e event, p *pkg, of *run) {
	delete(of.packages, e.Package)
	delete(r.since, r.short(e.Package))
	p.done = true
	own, line := "", ""
	if o := p.outputs[""]; o != nil {
		own, line = splitLast(o.String())
	}
	if strings.HasPrefix(line, "?") { // go test says that there are no tests
		return
	}
	r.done++
	if !r.verbose {
		p.held.WriteString(line)
	}
	if e.Action != "fail" {
		return
	}
	found := r.failedTests(e.Package, p, of.again)
	if build := of.builds[e.FailedBuild]; e.FailedBuild != "" && build != nil {
		own = build.String() + own
	}
	if len(found) == 0 || strings.TrimSpace(own) != "" && crash.MatchString(own) {
		found = append(found, r.failure(e.Package, "", own, of.again))
	}
	p.failures = found
	r.failed += len(found)
}

// failedTests returns the failures among the tests of a package. A test whose
// subtest failed is one of them only if it has output of its own.
func (r *Report) failedTests(path string, p *pkg, again func(pkg, pattern string) string) []failure {
	var found []failure
	for _, test := range p.order {
		if action := p.ended[test]; test == "" || action == "pass" || action == "skip" {
			continue
		}
		text := p.outputs[test].String()
		if said, _ := message(text); said == "" && p.subtestFailed(test) {
			continue
		}
		found = append(found, r.failure(path, test, text, again))
	}
	return found
}

func (p *pkg) subtestFailed(test string) bool {
	for _, other := range p.order {
		if action := p.ended[other]; strings.HasPrefix(other, test+"/") && action != "pass" && action != "skip" {
			return true
		}
	}
	return false
}

// splitLast divides the output of a package into the output of its process and
// the line with go test's verdict.
func splitLast(text string) (own, line string) {
	trimmed := strings.TrimSuffix(text, "\n")
	if i := strings.LastIndexByte(trimmed, '\n'); i >= 0 {
		return text[:i+1], text[i+1:]
	}
	return "", text
}

// failure makes a failure from the output of a test or of the package. A long
// goroutine dump goes into a file.
func (r *Report) failure(path, test, text string, again func(pkg, pattern string) string) failure {
	f := failure{pkg: r.short(path), test: test, message: FirstMessage(text), again: again(path, pattern(test))}
	shown, dump := splitDump(text)
	if dump != "" {
		var err error
		if f.dump, err = r.saveDump(f, dump); err != nil {
			shown, f.dump = text, ""
			r.screen.put(fmt.Sprintf("the goroutine dump cannot be saved: %v\n", err))
		}
	}
	f.text = shown
	return f
}

// saveDump writes a goroutine dump into a file of its own.
func (r *Report) saveDump(f failure, dump string) (string, error) {
	if r.dumpDir == "" {
		dir, err := os.MkdirTemp("", "plugwire-test-")
		if err != nil {
			return "", err
		}
		r.dumpDir = dir
	}
	name := strings.NewReplacer("/", "-", `\`, "-", " ", "_").Replace(strings.Trim(f.pkg+"-"+f.test, "-"))
	path := filepath.Join(r.dumpDir, name[:min(len(name), 100)]+".txt")
	return path, os.WriteFile(path, []byte(dump), 0o600)
}
