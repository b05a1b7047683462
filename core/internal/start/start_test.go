package start

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/plugwire/plugwire/core/host"
	_ "github.com/plugwire/plugwire/core/internal/exampletest/greeter"
	_ "github.com/plugwire/plugwire/core/plugin"
)

const repository = "github.com/plugwire/plugwire/"

// sides are the packages that a plugin and a host link.
var sides = []string{repository + "core/plugin", repository + "core/host"}

// onlyInitialize makes this program end before its tests.
const onlyInitialize = "PLUGWIRE_TEST_INITIALIZE"

func TestMain(m *testing.M) {
	if os.Getenv(onlyInitialize) != "" {
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// The allocations that the packages of core may make before main, each for itself and all
// together. What they need is a few errors and small maps, which take more or fewer by their
// random seeds. One regular expression took 379.
const (
	maxOfPackage = 32
	maxOfCore    = 100
)

// maxOfGenerated bounds the allocations of one generated package, which registers its types.
const maxOfGenerated = 40

// initialization is what one package does before main (runtime documentation, GODEBUG=inittrace).
type initialization struct {
	bytes, allocations int
}

var traceLine = regexp.MustCompile(`(?m)^init (\S+) @.* ms clock, (\d+) bytes, (\d+) allocs$`)

// initialize runs this program, which links both sides, and returns what its packages do
// before main.
func initialize(t *testing.T) map[string]initialization {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1", onlyInitialize+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	packages := make(map[string]initialization)
	for _, m := range traceLine.FindAllSubmatch(out, -1) {
		size, _ := strconv.Atoi(string(m[2]))
		allocations, _ := strconv.Atoi(string(m[3]))
		packages[string(m[1])] = initialization{size, allocations}
	}
	if len(packages) < 20 {
		t.Fatalf("only %d packages are traced\n%s", len(packages), out)
	}
	return packages
}

// isGenerated reports whether a package holds generated code.
func isGenerated(path string) bool {
	return strings.HasSuffix(path, "pb") || strings.HasSuffix(path, "/greeter")
}

// No package of core does before main what it can do on first use.
func TestInitializesLittle(t *testing.T) {
	t.Parallel()
	sum := 0
	for path, did := range initialize(t) {
		if !strings.HasPrefix(path, repository) || strings.HasSuffix(path, "core/internal/start") {
			continue
		}
		most := maxOfPackage
		if isGenerated(path) {
			most = maxOfGenerated
		} else {
			sum += did.allocations
		}
		if did.allocations > most {
			t.Errorf("%s makes %d allocations (%d bytes) before main, at most %d are allowed: make them on first use", path, did.allocations, did.bytes, most)
		}
	}
	if sum > maxOfCore {
		t.Errorf("the packages of core make %d allocations before main, at most %d are allowed", sum, maxOfCore)
	}
}

// linked are the modules whose packages a plugin may link, beside core and the standard
// library, with the reason.
var linked = map[string]string{
	"google.golang.org/grpc":                    "the calls, and the types that handlers and generated code use",
	"google.golang.org/protobuf":                "the messages",
	"google.golang.org/genproto/googleapis/rpc": "grpc's status",
	"golang.org/x/net":                          "grpc's HTTP/2",
	"golang.org/x/text":                         "grpc's HTTP/2: names of hosts",
	"golang.org/x/sys":                          "system calls that the standard library does not have",
	"github.com/hashicorp/yamux":                "sessions of one connection",
	"github.com/rs/zerolog":                     "the default logger",
	"github.com/mattn/go-isatty":                "the default logger: is standard error a terminal?",
	"github.com/mattn/go-colorable":             "zerolog: colors on Windows",
}

// dear are packages of these modules that a program would pay for at each start, with what
// they do before main.
var dear = map[string]string{
	"google.golang.org/grpc/reflection":                    "imports protodesc: use core/internal/control/reflection",
	"google.golang.org/protobuf/reflect/protodesc":         "decodes the defaults of all editions: 980 allocations",
	"google.golang.org/protobuf/types/descriptorpb":        "registers the 40 types of descriptors",
	"google.golang.org/protobuf/types/dynamicpb":           "imports protodesc",
	"google.golang.org/genproto/googleapis/rpc/errdetails": "registers all standard details of errors: write the field by hand",
	"google.golang.org/grpc/xds":                           "registers resolvers and balancers",
	"google.golang.org/grpc/channelz/service":              "registers channelz",
	"google.golang.org/grpc/encoding/gzip":                 "registers a compressor, whose use is the user's decision",
	"google.golang.org/grpc/internal/credentials/xds":      "imports xds",
}

// notImported are packages that core may not import where a plugin links them, with what they
// do before main. grpc links most of them too, but tables that core asks for are core's.
var notImported = map[string]string{
	"regexp":        "an expression in a variable is compiled before main",
	"text/template": "a template in a variable is parsed before main",
	"html/template": "a template in a variable is parsed before main",
	"encoding/gob":  "registers types",
	"net/http":      "has 30 tables; grpc links it",
	"testing":       "adds flags",
}

// mayImport are packages that import one of notImported, with the reason. A plugin links none
// of them.
var mayImport = map[string]string{
	"core/internal/board": "net/http serves the status of a host: by hand, it would be the same again",
}

// listedPackage is what go list says about a package.
type listedPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

// list returns the packages that a program with this one links.
func list(t *testing.T, side string) []listedPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Standard,Imports", side)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var packages []listedPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// A plugin and a host link what they need, and not what costs each start.
func TestLinksWhatItNeeds(t *testing.T) {
	t.Parallel()
	for _, side := range sides {
		unused := maps.Clone(linked)
		for _, p := range list(t, side) {
			if p.Standard {
				continue
			}
			if why, ok := dear[p.ImportPath]; ok {
				t.Errorf("%s links %s: %s", side, p.ImportPath, why)
			}
			if name, ours := strings.CutPrefix(p.ImportPath, repository); ours {
				if mayImport[name] != "" {
					if side == sides[0] {
						t.Errorf("%s links %s, which is for hosts: %s", side, name, mayImport[name])
					}
					continue
				}
				for _, path := range p.Imports {
					if why, ok := notImported[path]; ok {
						t.Errorf("%s imports %s: %s", p.ImportPath, path, why)
					}
				}
				continue
			}
			if !slices.ContainsFunc(slices.Collect(maps.Keys(linked)), func(module string) bool {
				in := p.ImportPath == module || strings.HasPrefix(p.ImportPath, module+"/")
				if in {
					delete(unused, module)
				}
				return in
			}) {
				t.Errorf("%s links %s, and no reason is known", side, p.ImportPath)
			}
		}
		for module := range unused {
			t.Errorf("%s links nothing of %s, which is on the list", side, module)
		}
	}
}
