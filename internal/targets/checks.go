package targets

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/plugwire/plugwire/internal/prose"
)

const (
	// Heavy tools are run at a pinned version: as a dependency of the root
	// module, a tool's requirements would merge into every module's build.
	golangciLint = "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0"

	ciScript = ".ci/run"

	generateCommand = "./codegen/cmd/plugwire-gen"

	// optionsRoot is the root of the options that users import. Their name in
	// protobuf's registry begins there, not at the root of the repository.
	optionsRoot = "core/proto"

	// embeddedOptions is codegen's copy of them, which has no Go code.
	embeddedOptions = "codegen/internal/compile/plugwire/options.proto"
)

// grpcOnly are the .proto files whose services are not a protocol of their own:
// one of every plugin, one that a test puts into a protocol with another, and one that
// plain grpc-go serves too.
var grpcOnly = []string{
	"bench/internal/echopb/echo.proto",
	"core/internal/control/controlpb/control.proto",
	"core/internal/e2e/matrixpb/matrix.proto",
}

type platform struct{ os, arch string }

// commonPlatforms has one platform for each system. Other architectures differ
// little.
var commonPlatforms = []platform{
	{"linux", "amd64"},
	{"darwin", "arm64"},
	{"windows", "amd64"},
}

// platforms has all platforms that the project promises to compile for.
var platforms = []platform{
	{"linux", "amd64"},
	{"linux", "arm64"},
	{"darwin", "amd64"},
	{"darwin", "arm64"},
	{"windows", "amd64"},
	{"windows", "arm64"},
}

// Lint runs golangci-lint, gofmt, vet for the magefile and, where installed, shellcheck, and checks the English of comments, texts and pages.
func Lint(ctx context.Context) error {
	return errors.Join(
		golangci(ctx),
		gofmt(ctx),
		root.run(ctx, "go", "vet", "-tags", "mage", "."),
		shellcheck(ctx),
		English(),
	)
}

// English checks the comments, texts and pages of the repository by the rules of package internal/prose.
func English() error {
	findings, err := prose.CheckRepository(".")
	if err != nil {
		return err
	}
	for _, f := range findings {
		fmt.Println(f)
	}
	if len(findings) > 0 {
		return fmt.Errorf("english: %d findings; what may stay goes into internal/prose/exceptions.txt", len(findings))
	}
	return nil
}

// golangci checks the workspace in one run, and each module outside of it.
func golangci(ctx context.Context) error {
	mods, err := modules()
	if err != nil {
		return err
	}
	lint := []string{"go", "run", golangciLint, "run"}
	workspace := slices.Clone(lint)
	var errs []error
	for _, m := range mods {
		if m.inWorkspace {
			workspace = append(workspace, "./"+filepath.ToSlash(filepath.Join(m.dir, "...")))
		} else {
			errs = append(errs, m.run(ctx, append(slices.Clone(lint), "./...")...))
		}
	}
	return errors.Join(append(errs, root.run(ctx, workspace...))...)
}

// gofmt also checks files that golangci-lint does not load on this system:
// those of other operating systems.
func gofmt(ctx context.Context) error {
	goroot, err := root.output(ctx, "go", "env", "GOROOT")
	if err != nil {
		return err
	}
	files, err := find("*.go")
	if err != nil {
		return err
	}
	args := append([]string{filepath.Join(goroot, "bin", "gofmt"), "-l"}, files...)
	switch unformatted, err := root.output(ctx, args...); {
	case err != nil:
		return err
	case unformatted != "":
		return fmt.Errorf("gofmt would change:\n%s", unformatted)
	default:
		return nil
	}
}

func shellcheck(ctx context.Context) error {
	if _, err := exec.LookPath("shellcheck"); err != nil {
		return skipped("shellcheck of "+ciScript, err.Error())
	}
	return root.run(ctx, "shellcheck", ciScript)
}

// Cross vets all modules for Linux, macOS and Windows on amd64 and arm64.
func Cross(ctx context.Context) error { return cross(ctx, platforms) }

func cross(ctx context.Context, platforms []platform) error {
	all, err := scopes()
	if err != nil {
		return err
	}
	// The peers of tests run where the tests do, and compiling the dependencies
	// of old releases would take longer than everything else.
	all = slices.DeleteFunc(all, func(s scope) bool { return strings.HasPrefix(filepath.ToSlash(s.dir), "interop/") })
	return each(platforms, func(p platform) error {
		fmt.Println("cross", p.os, p.arch)
		args := []string{"go", "vet", "-tags", "mage"}
		if p != (platform{runtime.GOOS, runtime.GOARCH}) {
			// Code that is compiled only for vet need not be fast: without
			// optimizations vet takes a fifth less.
			args = append(args, "-gcflags=all=-N -l")
		}
		return each(all, func(s scope) error {
			s.name += " for " + p.os + "/" + p.arch
			return s.with("GOOS="+p.os, "GOARCH="+p.arch).run(ctx, append(args, s.pattern)...)
		})
	})
}

// Isolate builds and vets each module alone, and checks that its go.mod is tidy.
func Isolate(ctx context.Context) error {
	mods, err := modules()
	if err != nil {
		return err
	}
	return each(mods, func(m module) error {
		fmt.Println("isolate", m.path())
		alone := m.alone()
		return errors.Join(
			alone.run(ctx, "go", "build", "-o", "/dev/null", "./..."),
			alone.run(ctx, "go", "vet", "-tags", "mage", "./..."),
			alone.run(ctx, "go", "mod", "tidy", "-diff"),
		)
	})
}

// Generate writes the Go code of every .proto file; in CI it checks that the committed
// code is current.
func Generate(ctx context.Context) error {
	if inCI() {
		return checkGenerated(ctx)
	}
	return generate(ctx)
}

func checkGenerated(ctx context.Context) error {
	if err := generate(ctx, "-check"); err != nil {
		return fmt.Errorf("%w\nrun: go tool mage generate", err)
	}
	return nil
}

func generate(ctx context.Context, flags ...string) error {
	protos, err := find("*.proto")
	if err != nil {
		return err
	}
	var plain []string
	for _, proto := range protos {
		name := filepath.ToSlash(proto)
		if name != embeddedOptions && !strings.HasPrefix(name, optionsRoot+"/") && !slices.Contains(grpcOnly, name) {
			plain = append(plain, name)
		}
	}
	command := append([]string{"go", "run", generateCommand, "generate"}, flags...)
	return errors.Join(
		root.run(ctx, append(slices.Clone(command), plain...)...),
		root.run(ctx, append(append(slices.Clone(command), "-grpc-only"), grpcOnly...)...),
		root.run(ctx, append(slices.Clone(command), "-root", optionsRoot, optionsRoot)...),
	)
}
