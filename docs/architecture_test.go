package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const architecture = "docs/architecture.md"

// TestPathsExist checks that every code span on a page of docs that is a path of this
// repository, or a tag with a path, leads to a file or a directory.
func TestPathsExist(t *testing.T) {
	top := regexp.MustCompile(`^(core|transport|codegen|plugins|examples|interop|docs)/[\w./-]+$`)
	constant := regexp.MustCompile(`^(.*)\.[A-Za-z0-9]+$`) // core/host.maxProgram
	tag := regexp.MustCompile(`/v\d+\.\d+\.\d+$`)
	found := 0
	for _, page := range pages(t) {
		if !strings.HasPrefix(page, "docs/") {
			continue
		}
		for i, line := range prose(read(t, page)) {
			for _, span := range spans(line) {
				span = tag.ReplaceAllString(span, "")
				if !top.MatchString(span) {
					continue
				}
				found++
				if m := constant.FindStringSubmatch(span); !exists(span) && (m == nil || !exists(m[1])) {
					t.Errorf("%s:%d: there is no %s", page, i+1, span)
				}
			}
		}
	}
	if found == 0 {
		t.Error("no page names a path")
	}
}

// TestArchitectureNamesWhatThereIs looks for each name in parentheses after a path in
// the file of that path: `core/host/launch.go` (`start`).
func TestArchitectureNamesWhatThereIs(t *testing.T) {
	named := regexp.MustCompile("`([\\w./-]+)` \\((`[^)]*)\\)")
	identifier := regexp.MustCompile(`^\w+$`)
	found := 0
	for i, line := range prose(read(t, architecture)) {
		for _, m := range named.FindAllStringSubmatch(line, -1) {
			code := codeOf(t, m[1])
			for _, name := range spans(m[2]) {
				if !identifier.MatchString(name) {
					continue
				}
				found++
				if !regexp.MustCompile(`(?m)^(func (\([^)]*\) )?|type |const |\t)` + name + `\b`).MatchString(code) {
					t.Errorf("%s:%d: %s declares no %s", architecture, i+1, m[1], name)
				}
			}
		}
	}
	if found == 0 {
		t.Error("the page names nothing")
	}
}

// codeOf returns a file, or the Go files of a directory.
func codeOf(t *testing.T, name string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(filepath.Join(root, filepath.FromSlash(name)), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		data, err := os.ReadFile(path)
		b.Write(data)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return b.String()
}

// TestImportsGoDown checks that each package of core is in the table of packages, and
// imports none that is above it.
func TestImportsGoDown(t *testing.T) {
	_, section, _ := strings.Cut(read(t, architecture), "\n## Packages of core\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var order []string
	for _, row := range rows(section) {
		order = append(order, spans(row[0])[0])
	}
	for _, dir := range packagesOf(t, "core") {
		if generated := strings.HasSuffix(dir, "pb") || strings.HasPrefix(dir, "core/proto/"); !generated && !slices.Contains(order, dir) {
			t.Errorf("the packages of core in %s lack %s", architecture, dir)
		}
	}
	above := make(map[string]bool)
	for _, dir := range order {
		above[dir] = true
		names, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), "*.go"))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(names), err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`"github.com/plugwire/plugwire/(core/[\w/]+)"`).FindAllStringSubmatch(string(data), -1) {
				if above[m[1]] {
					t.Errorf("%s imports %s, which is above %s", name, m[1], dir)
				}
			}
		}
	}
}

// TestOneWayInToGoPlugin checks that packages host and plugin use what is below
// core/internal/goplugin in one file each, and that no other package uses it. Package
// control may name go-plugin's services.
func TestOneWayInToGoPlugin(t *testing.T) {
	const wing = "core/internal/goplugin"
	waysIn := []string{"core/host/goplugin.go", "core/plugin/goplugin.go", "core/internal/control/control.go"}
	for _, dir := range packagesOf(t, "core") {
		if dir == wing || strings.HasPrefix(dir, wing+"/") {
			continue
		}
		names, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			file := dir + "/" + filepath.Base(name)
			if strings.HasSuffix(file, "_test.go") || slices.Contains(waysIn, file) {
				continue
			}
			if strings.Contains(read(t, file), `"github.com/plugwire/plugwire/`+wing) {
				t.Errorf("%s imports from %s", file, wing)
			}
		}
	}
}

// TestLifecyclesNameEveryState checks that the diagram of a plugin has each phase of a
// start and each step of a stop.
func TestLifecyclesNameEveryState(t *testing.T) {
	const page = "docs/lifecycles.md"
	_, diagram, _ := strings.Cut(read(t, page), "```mermaid\n")
	diagram, _, _ = strings.Cut(diagram, "```")
	found := 0
	for name, value := range parsePackage(t, "core/host").constants {
		if !strings.HasPrefix(name, "Phase") && !strings.HasPrefix(name, "Step") {
			continue
		}
		found++
		if state := valueOf(t, value, nil); !regexp.MustCompile(`(?m)^    ` + state + ` --> `).MatchString(diagram) {
			t.Errorf("%s: the diagram has no state %s", page, state)
		}
	}
	if found == 0 {
		t.Error("package host has no phases and steps")
	}
}

// TestOnlyOnePackageKnowsGRPC checks that, of core, only h2 imports what makes grpc-go work.
// Others import types that generated code, interceptors and stats handlers have, package
// control the services that grpc brings, and package pw the types of call options.
func TestOnlyOnePackageKnowsGRPC(t *testing.T) {
	const engine, pw = "core/internal/rpc/h2", "core/internal/rpc/pw"
	types := []string{"", "/codes", "/metadata", "/stats", "/status"}
	more := map[string][]string{
		"core/host":                        {"/health/grpc_health_v1"},
		"core/internal/control":            {"/health", "/health/grpc_health_v1", "/reflection/grpc_reflection_v1"},
		"core/internal/control/reflection": {"/reflection/grpc_reflection_v1", "/reflection/grpc_reflection_v1alpha"},
		"core/internal/rpc/calls":          {"/credentials", "/peer"}, // types that a handler finds in its context
		pw:                                 {"/credentials", "/credentials/insecure", "/encoding", "/mem", "/peer"},
	}
	// What package grpc has beside types: it makes servers, connections and their options.
	working := regexp.MustCompile(`\bgrpc\.(New(Client|Server|GracefulSwitchBalancer)|Dial\w*|With\w+|Creds|Connection\w+|Keepalive\w+|Max(Recv|Send|Header|Concurrent)\w+|StatsHandler|InTapHandle|Static\w+|Initial\w+|UnknownServiceHandler|ChainUnary\w+|ChainStream\w+)\(`)
	imported := regexp.MustCompile(`"google\.golang\.org/grpc(/[\w/]+)?"`)
	for _, dir := range packagesOf(t, "core") {
		if dir == engine || strings.HasSuffix(dir, "pb") || strings.HasPrefix(dir, "core/internal/exampletest") || strings.HasPrefix(dir, "core/internal/e2e") {
			continue
		}
		names, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range imported.FindAllStringSubmatch(string(data), -1) {
				if !slices.Contains(types, m[1]) && !slices.Contains(more[dir], m[1]) {
					t.Errorf("%s imports google.golang.org/grpc%s, which is for %s only", name, m[1], engine)
				}
			}
			used := working.FindString(string(data))
			if dir == pw && used == "grpc.NewClient(" {
				continue // client interceptors get a connection that makes no calls
			}
			if used != "" {
				t.Errorf("%s uses %s), which is for %s only", name, used, engine)
			}
		}
	}
}
