package targets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/magefile/mage/mg"
	"golang.org/x/term"

	"github.com/plugwire/plugwire/internal/hunt"
	"github.com/plugwire/plugwire/internal/testrun"
)

const packagePrefix = modulePrefix + "/" // prefix of the import paths of all packages

// The time that go test gives each package is several times what it takes on two
// busy cores, so that only a hanging test reaches it.
const (
	quickTimeout = 5 * time.Minute
	slowTimeout  = 20 * time.Minute
)

// Slow and quick packages are tested side by side. Each processor tests one quick
// package and one or two slow ones, because many tests mostly wait: for processes
// that start and for times that are to pass.
const (
	quickAtOnce = 1.0
	slowAtOnce  = 1.5
)

// slowPackages start processes by the hundred, or compile what they test. The
// longest are first, so that the last package does not run alone for long.
var slowPackages = []string{
	"core/internal/e2e",
	"codegen/internal/e2e",
	"plugins/streaming/cmd/streaming-host",
	"core/transport/transporttest",
	"codegen/internal/cli",
	"cmd/plugwire/internal/cli",
	"transport/quic",
	"interop/goplugin",
	"interop/compat",
	"plugins/versioned/cmd/versioned-plugin",
	"docs",
	"interop/foreign",
	"interop/pyvider",
	"codegen/internal/e2e/languages",
}

// Test runs the tests of all modules, with the race detector if a C compiler works.
func Test(ctx context.Context) error {
	race, err := raceDetector(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := compileAll(ctx, race); err != nil {
		return err
	}
	fmt.Printf("compiled in %.0f s\n", time.Since(began).Seconds())
	runs, err := testCommands(ctx)
	if err != nil {
		return err
	}
	report := testrun.New(testrun.Config{Output: os.Stdout, Width: terminalWidth(), Verbose: mg.Verbose(), Prefix: packagePrefix})
	var commands []testrun.Command
	for _, r := range runs {
		atOnce := int(r.atOnce * float64(runtime.NumCPU()))
		args := slices.Concat([]string{"go", "test", "-json", "-vet", "off", "-p", strconv.Itoa(atOnce), "-timeout", r.timeout.String()}, race.flags, r.packages)
		commands = append(commands, testrun.Command{Cmd: r.with(race.env).command(ctx, args), Again: r.again(race)})
	}
	failed := report.Run(commands...)
	fmt.Printf("%.0f s\n", time.Since(began).Seconds())
	return cmp.Or(report.Close(), failed)
}

// terminalWidth returns 0 if no user sees the output.
func terminalWidth() int {
	fd := int(os.Stdout.Fd())
	if !term.IsTerminal(fd) {
		return 0
	}
	width, _, err := term.GetSize(fd)
	if err != nil {
		return 0
	}
	return width
}

// raceSetting has the flags and the environment of commands that use the race
// detector if there is one.
type raceSetting struct {
	flags []string
	env   string
}

// raceDetector checks whether there is a race detector.
func raceDetector(ctx context.Context) (raceSetting, error) {
	cgo := root.with("CGO_ENABLED=1")
	err := cgo.run(ctx, "go", "build", "-race", "runtime/cgo")
	if err == nil {
		return raceSetting{[]string{"-race"}, "CGO_ENABLED=1"}, nil
	}
	return raceSetting{env: noCgo}, skipped("race detector", "it needs a working C compiler: "+err.Error())
}

// raceCommands are the directories of commands that are only tested, or started by
// tests, with the race detector.
var raceCommands = []string{"core/internal/e2e/", "interop/cmd/"}

// compileAll compiles the tested packages, and the commands that tests start as the
// tests build them. The tests find all packages in the build cache and only link
// them, so a slow compiler takes no time from a test's limit. Linking the commands
// here would be wasted, because the go command does not keep them.
func compileAll(ctx context.Context, race raceSetting) error {
	all, err := scopes()
	if err != nil {
		return err
	}
	return each(all, func(s scope) error {
		raced, err := testedPackages(ctx, s)
		if err != nil {
			return err
		}
		commands, err := s.output(ctx, "go", "list", "-f", `{{if eq .Name "main"}}{{.ImportPath}}{{end}}`, s.pattern)
		if err != nil {
			return err
		}
		var plain []string
		for path := range strings.FieldsSeq(commands) {
			if slices.ContainsFunc(raceCommands, func(dir string) bool { return strings.HasPrefix(path, packagePrefix+dir) }) {
				raced = append(raced, path)
			} else {
				plain = append(plain, path)
			}
		}
		return errors.Join(compile(ctx, s.with(race.env), race.flags, raced), compile(ctx, s.place, nil, plain))
	})
}

// compile compiles packages into the build cache, and links nothing. It leaves
// mistakes in them to go test, which goes on with the other packages.
func compile(ctx context.Context, p place, flags, packages []string) error {
	if len(packages) == 0 {
		return nil
	}
	return p.run(ctx, slices.Concat([]string{"go", "list", "-e", "-export", "-f", "{{/* print nothing */}}"}, flags, packages)...)
}

// testCommand is one call of go test.
type testCommand struct {
	place
	packages []string
	timeout  time.Duration
	atOnce   float64 // packages that each processor tests
}

// testCommands returns the calls of go test that together run all tests.
func testCommands(ctx context.Context) ([]testCommand, error) {
	all, err := scopes()
	if err != nil {
		return nil, err
	}
	var found []testCommand
	for _, s := range all {
		packages, err := testedPackages(ctx, s)
		if err != nil {
			return nil, err
		}
		var slow, quick []string
		for _, name := range slowPackages {
			if path := packagePrefix + name; slices.Contains(packages, path) {
				slow = append(slow, path)
			}
		}
		for _, path := range packages {
			if !slices.Contains(slow, path) {
				quick = append(quick, path)
			}
		}
		for _, c := range []testCommand{{s.place, slow, slowTimeout, slowAtOnce}, {s.place, quick, quickTimeout, quickAtOnce}} {
			if len(c.packages) > 0 {
				found = append(found, c)
			}
		}
	}
	return found, nil
}

// testedPackages returns the import paths of the packages of a scope that have tests.
func testedPackages(ctx context.Context, s scope) ([]string, error) {
	const tested = "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}"
	out, err := s.output(ctx, "go", "list", "-f", tested, s.pattern)
	return strings.Fields(out), err
}

// again returns the command line with which a person runs one test of the
// command again.
func (c testCommand) again(race raceSetting) func(pkg, pattern string) string {
	return func(pkg, pattern string) string {
		line := strings.Join(slices.Concat([]string{"go", "test"}, race.flags, []string{"-count=1"}), " ")
		if pattern != "" {
			line += " -run '" + pattern + "'"
		}
		if c.dir != root.dir {
			return "cd " + c.dir + " && GOWORK=off " + line + " " + pkg
		}
		return line + " ./" + strings.TrimPrefix(pkg, packagePrefix)
	}
}

// Hunt looks for tests that fail now and then, for -duration=1h: each test -alone=300 times, each binary -whole=50 times, -packages=REGEXP.
func Hunt(ctx context.Context, duration *time.Duration, alone, whole *int, packages *string) (err error) {
	race, err := raceDetector(ctx)
	if err != nil {
		return err
	}
	if err := compileAll(ctx, race); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "plugwire-hunt-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	binaries, err := testBinaries(ctx, scratch, race, deref(packages, ""))
	if err != nil {
		return err
	}
	results := hunt.Run(ctx, hunt.Config{
		Binaries: binaries,
		Alone:    deref(alone, 300),
		Whole:    deref(whole, 50),
		Duration: deref(duration, time.Hour),
		Progress: os.Stdout,
	})
	fmt.Print("\n", hunt.Table(results, mg.Verbose()))
	if slices.ContainsFunc(results, func(r hunt.Result) bool { return r.Failed > 0 }) {
		return errors.New("some tests fail now and then")
	}
	return ctx.Err()
}

// deref returns the value of a flag, or a default.
func deref[T any](flag *T, unset T) T {
	if flag == nil {
		return unset
	}
	return *flag
}

// testBinaries compiles the tests of the packages whose path matches the pattern.
func testBinaries(ctx context.Context, dir string, race raceSetting, pattern string) ([]hunt.Binary, error) {
	wanted, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	all, err := scopes()
	if err != nil {
		return nil, err
	}
	var found []hunt.Binary
	for _, s := range all {
		packages, err := testedPackages(ctx, s)
		if err != nil {
			return nil, err
		}
		for _, path := range packages {
			name := strings.TrimPrefix(path, packagePrefix)
			if !wanted.MatchString(name) {
				continue
			}
			b := hunt.Binary{Package: name, Path: filepath.Join(dir, strings.ReplaceAll(name, "/", "-")+".test"), Dir: filepath.FromSlash(name)}
			compile := slices.Concat([]string{"go", "test", "-c"}, race.flags, []string{"-o", b.Path, path})
			if err := s.with(race.env).run(ctx, compile...); err != nil {
				return nil, err
			}
			names, err := place{name: name, dir: b.Dir}.output(ctx, b.Path, "-test.list", "^(Test|Example)")
			if err != nil {
				return nil, err
			}
			for line := range strings.Lines(names) {
				if line = strings.TrimSpace(line); testName.MatchString(line) {
					b.Tests = append(b.Tests, line)
				}
			}
			found = append(found, b)
		}
	}
	return found, nil
}
