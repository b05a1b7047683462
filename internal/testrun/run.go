package testrun

import (
	"errors"
	"os/exec"
	"sync"
)

// A Command is one go test command.
type Command struct {
	// Cmd is go test with the flag -json. Run sets its Stdout and Stderr.
	Cmd *exec.Cmd
	// Again returns the command line that runs the tests of a package that the
	// pattern selects, a value of go test's flag -run. An empty pattern selects
	// all.
	Again func(pkg, pattern string) string
}

// A run is a command that runs, and until the commands before it have ended.
type run struct {
	again    func(pkg, pattern string) string
	packages map[string]*pkg // the running packages, by import path
	queue    []*pkg          // packages that began and are not printed, in the order of go test
	builds   map[string]*output
	done     bool
}

// Run runs commands side by side to their end and returns their errors. It prints
// their packages in the order of the commands. Other tests run even if one fails.
func (r *Report) Run(commands ...Command) error {
	runs := make([]*run, len(commands))
	for i, c := range commands {
		runs[i] = &run{again: c.Again, packages: make(map[string]*pkg), builds: make(map[string]*output)}
	}
	r.mu.Lock()
	r.runs = append(r.runs, runs...)
	r.mu.Unlock()
	stop := r.screen.while(r.status)
	errs := make([]error, len(commands))
	var wg sync.WaitGroup
	for i, c := range commands {
		wg.Go(func() {
			errs[i] = r.run(c, runs[i])
			r.cutOff(runs[i])
		})
	}
	wg.Wait()
	stop()
	return errors.Join(errs...)
}

func (r *Report) run(c Command, of *run) error {
	c.Cmd.Stderr = r.screen
	stdout, err := c.Cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Cmd.Start(); err != nil {
		return err
	}
	err = readEvents(stdout, func(e event) { r.take(e, of) }, r.screen.put)
	return errors.Join(err, c.Cmd.Wait())
}

// cutOff ends a run, and those of its packages whose end go test has not reported,
// because it was interrupted.
func (r *Report) cutOff(of *run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	of.done = true
	for path, p := range of.packages {
		p.done = true
		delete(r.since, r.short(path))
		p.failures = append(r.failedTests(path, p, of.again), failure{pkg: r.short(path), message: "did not end: go test was interrupted", again: of.again(path, "")})
	}
	r.flush()
}

// flush prints the held lines of each package before which no package is
// running.
func (r *Report) flush() {
	for len(r.runs) > 0 && r.flushRun(r.runs[0]) {
		r.runs = r.runs[1:]
	}
}

// flushRun reports whether all packages of the run are printed.
func (r *Report) flushRun(of *run) bool {
	for len(of.queue) > 0 {
		first := of.queue[0]
		if first.held.Len() > 0 {
			r.screen.put(first.held.String())
			first.held.Reset()
		}
		if !first.done {
			return false
		}
		r.failures = append(r.failures, first.failures...)
		of.queue = of.queue[1:]
	}
	return of.done
}
