// Package targets has the targets of magefile.go: each exported function is one.
package targets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/magefile/mage/mg"
)

const (
	benchCommand     = "./bench/cmd/bench"
	benchPage        = "docs/performance.md"
	supervisePackage = "./core/supervise"
	// conformPackage has the defects of hosts, each with all rules.
	conformPackage = "./cmd/plugwire/internal/conform/hosts"
	e2ePackages    = "./core/internal/e2e/..."

	streamingPackages    = "./plugins/streaming/cmd/..."
	multiservicePackages = "./plugins/multiservice/cmd/..."

	// soakTimeout is several times what the soak takes on two slow cores.
	soakTimeout = "40m"
)

// Build compiles the commands of all modules that are released into ./bin.
func Build(ctx context.Context) error {
	return build(ctx, func(module) bool { return true })
}

// build compiles the commands of the modules for which want is true.
func build(ctx context.Context, want func(module) bool) error {
	mods, err := modules()
	if err != nil {
		return err
	}
	args := []string{"go", "build", "-o", "bin/"}
	for _, m := range mods {
		if !m.published() || !want(m) {
			continue
		}
		for _, name := range m.commands {
			args = append(args, "./"+filepath.ToSlash(m.dir)+m.commandPath(name))
		}
	}
	return root.run(ctx, args...)
}

// Fuzz runs every fuzz target of all modules for FUZZTIME each: a number of inputs (by default 200000x) or a duration.
func Fuzz(ctx context.Context) error {
	return fuzz(ctx, cmp.Or(os.Getenv("FUZZTIME"), "200000x"))
}

// slowFuzz are targets whose inputs are whole connections or programs of calls. An input
// takes milliseconds, so that fuzzInCI of them would take minutes.
var slowFuzz = []string{"FuzzPeer", "FuzzPrograms", "FuzzTracks"}

const slowFuzzInCI = "1000x"

// fuzz runs every fuzz target for as long as the flag -fuzztime says. A number of
// inputs is the better measure: at the end of a duration, go test can fail though
// the target is correct (golang.org/issue/75804).
func fuzz(ctx context.Context, fuzztime string) error {
	all, err := scopes()
	if err != nil {
		return err
	}
	return each(all, func(s scope) error {
		targets, err := tests(ctx, s, "^Fuzz")
		if err != nil {
			return err
		}
		return each(targets, func(t test) error {
			fmt.Println("fuzz", t.pkg, t.name)
			inputs := fuzztime
			if fuzztime == fuzzInCI && slices.Contains(slowFuzz, t.name) {
				inputs = slowFuzzInCI
			}
			return s.run(ctx, "go", "test", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", inputs, "-fuzzminimizetime", "1000x", t.pkg)
		})
	})
}

// Bench holds the targets about speed.
type Bench mg.Namespace

// Peers measures Plugwire beside other frameworks, for about ten minutes, and writes the tables of docs/performance.md. It wants a quiet machine, and root for one part.
func (Bench) Peers(ctx context.Context) error {
	return root.run(ctx, "go", "run", benchCommand, "-write", benchPage)
}

// Supervise measures what callers see when a supervised plugin crashes, when it is replaced and when its source is saved, and prints the tables. It takes about ten minutes, on Linux, and wants a quiet machine.
func (Bench) Supervise(ctx context.Context) error {
	s := scope{root.with("PLUGWIRE_FIGURES=full"), e2ePackages}
	return s.run(ctx, "go", "test", "-count", "1", "-v", "-timeout", soakTimeout, "-run", "^TestSupervisedFigures$", s.pattern)
}

// benchOnce shows that the benchmarks work. It measures nothing.
func benchOnce(ctx context.Context) error {
	all, err := scopes()
	if err != nil {
		return err
	}
	return errors.Join(
		each(all, func(s scope) error {
			// Tests of allocations need a run without the race detector, which allocates.
			return s.run(ctx, "go", "test", "-run", "Alloc", "-bench", ".", "-benchtime", "1x", s.pattern)
		}),
		root.run(ctx, "go", "run", benchCommand, "-quick"),
	)
}

// Soak runs the long life tests: plugins that die 1,000 times in every way, hosts that are killed 600 times, file transfers that are killed.
func Soak(ctx context.Context) error {
	soaked := []string{e2ePackages, supervisePackage, streamingPackages, multiservicePackages, conformPackage}
	full := root.with("PLUGWIRE_SOAK=full")
	for _, packages := range soaked {
		found, err := tests(ctx, scope{full, packages}, "Soak")
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return errors.New("soak: no test in " + packages + " has Soak in its name")
		}
	}
	// Run the packages side by side, because they wait for much of their time.
	args := []string{"go", "test", "-count", "1", "-v", "-timeout", soakTimeout, "-run", "Soak"}
	return full.run(ctx, append(args, soaked...)...)
}

// Interop runs hosts and plugins of other implementations with ours, and prints the
// result of each pair.
func Interop(ctx context.Context) error {
	return each([]string{"interop/goplugin", "interop/foreign", "interop/pyvider"}, func(dir string) error {
		// Without a package in the command, go test prints what the tests print.
		return place{name: dir, dir: dir, env: root.env}.run(ctx, "go", "test", "-count", "1")
	})
}

// Loss measures quic beside tcp over a network that loses packets, for seven minutes. It wants root.
func Loss(ctx context.Context) error {
	s := scope{root.with("PLUGWIRE_LOSS=full"), e2ePackages}
	return s.run(ctx, "go", "test", "-count", "1", "-v", "-timeout", "20m", "-run", "^TestLoss$", s.pattern)
}

// A test is a test function, a benchmark or a fuzz target.
type test struct{ pkg, name string }

// tests lists the tests of a scope whose name matches the pattern.
func tests(ctx context.Context, s scope, pattern string) ([]test, error) {
	out, err := s.output(ctx, "go", "test", "-vet", "off", "-list", pattern, s.pattern)
	if err != nil {
		return nil, err
	}
	// The names of a package's tests come before its line "ok <package> <time>".
	var found []test
	var names []string
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 1 && testName.MatchString(fields[0]):
			names = append(names, fields[0])
		case len(fields) > 1 && fields[0] == "ok":
			for _, name := range names {
				found = append(found, test{fields[1], name})
			}
			names = nil
		}
	}
	return found, nil
}

var testName = regexp.MustCompile(`^(Test|Fuzz|Benchmark|Example)\w*$`)
