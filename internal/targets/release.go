package targets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/magefile/mage/mg"
)

const (
	// nextVersion is what the next release tags every module with, and what
	// the modules on main require of each other.
	nextVersion = "v0.1.0"

	// modulePrefix begins the path of every module.
	modulePrefix = "github.com/plugwire/plugwire"

	// helpTimeout is for commands that only explain themselves.
	helpTimeout = time.Minute
)

// Release holds the targets about publishing.
type Release mg.Namespace

// Proof publishes HEAD to a scratch proxy, and uses every module and command from there.
func (Release) Proof(ctx context.Context) (err error) {
	scratch, err := os.MkdirTemp("", "release-proof-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()

	p := proof{scratch: scratch}
	for _, step := range []func(context.Context) error{
		p.prepare,
		p.publishAll,
		p.getModules,
		p.installCommands,
		p.runCommands,
		p.checkVersions,
		p.runSamples,
		p.buildOutside,
		p.replaceGoPlugin,
		p.makeNew,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// A proof is one run of release:proof.
type proof struct {
	scratch  string   // removed at the end
	clone    place    // clone of this repository, at HEAD
	modules  []module // modules that a release publishes
	consumer []string // environment in which the go command finds only published modules
}

func (p *proof) path(elem ...string) string {
	return filepath.Join(append([]string{p.scratch}, elem...)...)
}

// executable returns the path of an installed command.
func (p *proof) executable(name string) string { return p.path("bin", name) }

// newConsumer makes an empty directory for a user of what is published.
func (p *proof) newConsumer(name string) (place, error) {
	c := place{name: name, dir: p.path("consumers", name), env: p.consumer}
	return c, os.MkdirAll(c.dir, 0o755)
}

// prepare clones the repository and describes the environment of a consumer.
func (p *proof) prepare(ctx context.Context) error {
	all, err := modules()
	if err != nil {
		return err
	}
	p.modules = slices.DeleteFunc(all, func(m module) bool { return !m.published() })

	if changes, err := root.output(ctx, "git", "status", "--porcelain"); err != nil {
		return err
	} else if changes != "" {
		say("uncommitted changes are not part of the proof")
	}
	p.clone = place{name: "scratch clone", dir: p.path("clone")}
	if err := root.quiet(ctx, "git", "clone", "--quiet", "--no-tags", ".", p.clone.dir); err != nil {
		return err
	}
	head, err := p.clone.output(ctx, "git", "log", "-1", "--format=%h %s")
	if err != nil {
		return err
	}
	say("cloned %s", head)

	machine, err := root.output(ctx, "go", "env", "GOPROXY", "GONOSUMDB")
	if err != nil {
		return err
	}
	proxy, noSumDB, _ := strings.Cut(machine, "\n")
	p.consumer = []string{
		noCgo,
		"GOBIN=" + p.path("bin"),
		"GOFLAGS=-modcacherw", // makes the module cache removable
		"GOMODCACHE=" + p.path("modcache"),
		"GONOPROXY=none",
		"GONOSUMDB=" + modulePrefix + "," + noSumDB, // no checksum database knows these tags
		"GOPROXY=file://" + filepath.ToSlash(p.path("proxy")) + "," + proxy,
		"GOWORK=off",
	}
	return nil
}

// getModules gets each module on its own and compiles all its packages.
func (p *proof) getModules(ctx context.Context) error {
	return each(p.modules, func(m module) error {
		c, err := p.newConsumer("get-" + strings.ReplaceAll(m.dir, string(filepath.Separator), "-"))
		if err != nil {
			return err
		}
		for _, args := range [][]string{
			{"go", "mod", "init", "example.com/consumer"},
			{"go", "get", m.path() + "@" + nextVersion},
			{"go", "get", m.path() + "/..."},
			{"go", "build", m.path() + "/..."},
		} {
			if err := c.quiet(ctx, args...); err != nil {
				return err
			}
		}
		say("go get %s@%s", m.path(), nextVersion)
		return nil
	})
}

// installCommands installs every command from an empty directory.
func (p *proof) installCommands(ctx context.Context) error {
	c, err := p.newConsumer("install")
	if err != nil {
		return err
	}
	return each(p.modules, func(m module) error {
		return each(m.commands, func(name string) error {
			if err := c.quiet(ctx, "go", "install", m.path()+m.commandPath(name)+"@"+nextVersion); err != nil {
				return err
			}
			say("go install %s%s@%s", m.path(), m.commandPath(name), nextVersion)
			return nil
		})
	})
}

// runCommands runs every installed command as a curious person would: a
// plugin by hand, which must explain itself and fail, a host with -h.
func (p *proof) runCommands(ctx context.Context) error {
	c, err := p.newConsumer("run")
	if err != nil {
		return err
	}
	installed, err := os.ReadDir(p.path("bin"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, helpTimeout)
	defer cancel()
	return each(installed, func(entry os.DirEntry) error {
		args, want := []string{p.executable(entry.Name())}, 0
		switch {
		case strings.HasSuffix(entry.Name(), "-plugin"):
			want = 1
		case entry.Name() != "hello-host": // it has no flags, and finds its plugin beside it
			args = append(args, "-h")
		}
		cmd := c.command(ctx, args)
		cmd.Stderr = nil // stderr is part of the output
		out, err := cmd.CombinedOutput()
		if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
			return fmt.Errorf("%s: %w", entry.Name(), err)
		}
		if code := cmd.ProcessState.ExitCode(); code != want || len(out) == 0 {
			return fmt.Errorf("%s: exit code %d, want %d and some output; output:\n%s",
				strings.Join(args, " "), code, want, out)
		}
		first, _, _ := strings.Cut(string(out), "\n")
		say("ran %s: %s", entry.Name(), first)
		return nil
	})
}

// checkVersions compares the versions that the installed samples report with
// their tag.
func (p *proof) checkVersions(ctx context.Context) error {
	for name, method := range map[string]string{"dataprocessor": "example.DataProcessor/GetStatus", "streaming": "streaming.StreamingService/GetStatus"} {
		i := slices.IndexFunc(samples, func(s sample) bool { return s.name == name })
		answers, err := runner{sample: samples[i], bin: p.path("bin"), dir: p.scratch}.call(ctx, method)
		if err != nil {
			return err
		}
		version := answers[0].Version
		if tagged := strings.TrimPrefix(nextVersion, "v"); version != tagged {
			return fmt.Errorf("%s says that it is version %v, its tag says %s", name, version, tagged)
		}
		say("%s reports its tag's version, %v", name, version)
	}
	return nil
}

// runSamples runs the installed plugins under the installed plugwire, and the installed hosts.
func (p *proof) runSamples(ctx context.Context) error {
	return each(samples, func(s sample) error {
		dir := p.path("consumers", "sample-"+s.name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		done, err := s.work(ctx, runner{sample: s, bin: p.path("bin"), dir: dir})
		if err != nil {
			return err
		}
		say("%s-plugin: %s", s.name, done)
		host := place{name: "installed host", dir: dir, env: p.consumer}
		return host.quiet(ctx, p.executable(s.name+"-host"))
	})
}

// buildOutside builds the hello world in a module of its own, outside of the
// repository, and runs it.
func (p *proof) buildOutside(ctx context.Context) error {
	c, err := p.newConsumer("outside")
	if err != nil {
		return err
	}
	if err := os.CopyFS(c.dir, os.DirFS(filepath.Join(p.clone.dir, "plugins", "hello", "cmd"))); err != nil {
		return err
	}
	if err := p.linkProtocols(c); err != nil {
		return err
	}
	get := []string{"go", "get"}
	for _, m := range p.modules {
		get = append(get, m.path()+"@"+nextVersion)
	}
	for _, args := range [][]string{
		{"go", "mod", "init", "example.com/outside"},
		get,
		{"go", "get", "./..."},
		{"go", "build", "-o", "bin/", "./..."},
	} {
		if err := c.quiet(ctx, args...); err != nil {
			return err
		}
	}
	out, err := c.output(ctx, filepath.Join(c.dir, "bin", "hello-host"))
	if err != nil {
		return err
	}
	say("a host and a plugin outside of the repository: %s", out)
	if err := c.quiet(ctx, filepath.Join(c.dir, "bin", linkCommand)); err != nil {
		return err
	}
	say("a program with the protocols of all modules: starts")
	return nil
}

// linkCommand is the name of a program that only imports all protocols.
const linkCommand = "link-all"

// replaceGoPlugin runs the host and the plugin on go-plugin of examples/migrating, with the
// published compat/goplugin in go-plugin's place.
func (p *proof) replaceGoPlugin(ctx context.Context) error {
	const example = "examples/migrating"
	c, err := p.newConsumer("replace")
	if err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(c.dir, "before"), os.DirFS(filepath.Join(p.clone.dir, filepath.FromSlash(example), "before"))); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"go", "mod", "init", modulePrefix + "/" + example},
		{"go", "mod", "edit", "-replace", "github.com/hashicorp/go-plugin=" + modulePrefix + "/compat/goplugin@" + nextVersion},
		{"go", "mod", "tidy"},
		{"go", "build", "-o", c.dir, "./before/cmd/..."},
	} {
		if err := c.quiet(ctx, args...); err != nil {
			return err
		}
	}
	said, err := c.output(ctx, filepath.Join(c.dir, "greeter-host"), filepath.Join(c.dir, "greeter-plugin"))
	if err != nil {
		return err
	}
	linked, err := c.output(ctx, "go", "version", "-m", filepath.Join(c.dir, "greeter-plugin"))
	if err != nil {
		return err
	}
	if said != "Hello, world!" || !strings.Contains(linked, modulePrefix+"/compat/goplugin\t"+nextVersion) {
		return fmt.Errorf("with compat/goplugin in go-plugin's place: %q\n%s", said, linked)
	}
	say("go mod edit -replace github.com/hashicorp/go-plugin=%s/compat/goplugin@%s", modulePrefix, nextVersion)
	return nil
}

// linkProtocols writes that program. If the names of files or messages of two
// protocols conflict, the program ends at its start.
func (p *proof) linkProtocols(c place) error {
	files, err := find("*_plugwire.pb.go")
	if err != nil {
		return err
	}
	var text strings.Builder
	text.WriteString("package main\n\n")
	for _, file := range files {
		dir := filepath.Dir(file)
		if slices.ContainsFunc(p.modules, func(m module) bool { return dir == m.dir || strings.HasPrefix(dir, m.dir+string(filepath.Separator)) }) &&
			!strings.Contains(filepath.ToSlash(dir), "/internal/") {
			fmt.Fprintf(&text, "import _ %q\n", path.Join(modulePrefix, filepath.ToSlash(dir)))
		}
	}
	text.WriteString("\nfunc main() {}\n")
	main := filepath.Join(c.dir, linkCommand)
	if err := os.Mkdir(main, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(main, "main.go"), []byte(text.String()), 0o644)
}

func say(format string, args ...any) { fmt.Printf("proof: "+format+"\n", args...) }
