package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"

	"github.com/plugwire/plugwire/codegen/internal/compile"
	"github.com/plugwire/plugwire/codegen/internal/glue"
)

// A tree holds .proto files by name.
type tree map[string]string

// source returns the tree as a source of files.
func (t tree) source() compile.Source {
	return compile.Source{
		Open: func(name string) (io.ReadCloser, error) {
			text, ok := t[name]
			if !ok {
				return nil, os.ErrNotExist
			}
			return io.NopCloser(strings.NewReader(text)), nil
		},
		Path: func(name string) string { return name },
	}
}

// request compiles all files of a tree, and returns the request to generate them.
func (t tree) request(ctx context.Context) (*pluginpb.CodeGeneratorRequest, error) {
	names := slices.Sorted(maps.Keys(t))
	result, err := compile.Files(ctx, t.source(), names)
	if err != nil {
		return nil, err
	}
	if err := result.Mistakes.Error(t.source()); err != nil {
		return nil, err
	}
	return &pluginpb.CodeGeneratorRequest{
		FileToGenerate: names, Parameter: new("paths=source_relative"), ProtoFile: compile.Descriptors(result.All()),
	}, nil
}

// A world type-checks generated packages with the packages that they import.
type world struct {
	fset     *token.FileSet
	compiled types.Importer
	packages map[string]map[string]string // code by directory and file
	checked  map[string]*types.Package
}

// newWorld returns a world with the packages that generated code imports.
func newWorld(t *testing.T) *world {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}",
		"google.golang.org/grpc", "google.golang.org/protobuf/types/gofeaturespb", "github.com/plugwire/plugwire/core/protocol")
	list.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	exports := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		name, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[name] = file
	}
	w := &world{fset: token.NewFileSet(), packages: make(map[string]map[string]string), checked: make(map[string]*types.Package)}
	w.compiled = importer.ForCompiler(w.fset, "gc", func(name string) (io.ReadCloser, error) { return os.Open(exports[name]) })
	return w
}

const prefix = "example.com/m/"

// Import implements [types.Importer].
func (w *world) Import(name string) (*types.Package, error) {
	dir, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return w.compiled.Import(name)
	}
	if w.checked[dir] == nil {
		if errs := w.check(dir, func(name string) bool { return !isVariant(name) }); len(errs) > 0 {
			return nil, errs[0]
		}
	}
	return w.checked[dir], nil
}

// check type-checks the files of a directory for which want is true.
func (w *world) check(dir string, want func(name string) bool) []error {
	var errs []error
	var files []*ast.File
	for _, name := range slices.Sorted(maps.Keys(w.packages[dir])) {
		if !want(name) {
			continue
		}
		file, err := parser.ParseFile(w.fset, name, w.packages[dir][name], parser.SkipObjectResolution)
		if err != nil {
			return []error{err}
		}
		files = append(files, file)
	}
	config := types.Config{Importer: w, Error: func(err error) { errs = append(errs, err) }}
	p, err := config.Check(prefix+dir, w.fset, files, nil)
	if err == nil {
		w.checked[dir] = p
	}
	return errs
}

// add adds generated files.
func (w *world) add(files []*pluginpb.CodeGeneratorResponse_File) {
	for _, f := range files {
		dir := path.Dir(f.GetName())
		if w.packages[dir] == nil {
			w.packages[dir] = make(map[string]string)
		}
		w.packages[dir][f.GetName()] = f.GetContent()
	}
}

// isVariant reports whether a file is for the build tag protoopaque. With that tag it
// replaces another file.
func isVariant(name string) bool { return strings.HasSuffix(name, "_protoopaque.pb.go") }

func isOurs(name string) bool { return strings.HasSuffix(name, "_plugwire.pb.go") }

// generateForeign adds the code of protoc-gen-go and protoc-gen-go-grpc.
func (w *world) generateForeign(t *testing.T, request *pluginpb.CodeGeneratorRequest) {
	t.Helper()
	plugin, err := protogen.Options{}.New(request)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range plugin.Files {
		if file.Generate {
			internal_gengo.GenerateFile(plugin, file)
		}
	}
	response := plugin.Response()
	if response.Error != nil {
		t.Fatal(response.GetError())
	}
	w.add(response.GetFile())

	encoded, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	tool := exec.CommandContext(t.Context(), "go", "tool", "protoc-gen-go-grpc")
	tool.Dir = "../.."
	tool.Env = append(os.Environ(), "GOWORK=off")
	tool.Stdin = bytes.NewReader(encoded)
	tool.Stderr = t.Output()
	out, err := tool.Output()
	if err != nil {
		t.Fatal(err)
	}
	response = new(pluginpb.CodeGeneratorResponse)
	if err := proto.Unmarshal(out, response); err != nil || response.Error != nil {
		t.Fatal(err, response.GetError())
	}
	w.add(response.GetFile())
}

// generateOurs adds the code of package glue. It returns the mistakes by directory, and
// adds no code for a directory with a mistake.
func (w *world) generateOurs(t *testing.T, request *pluginpb.CodeGeneratorRequest) map[string]glue.Errors {
	t.Helper()
	run := func() error {
		plugin, err := protogen.Options{}.New(request)
		if err != nil {
			t.Fatal(err)
		}
		if err := new(glue.Options).Generate(plugin); err != nil {
			return err
		}
		w.add(plugin.Response().GetFile())
		return nil
	}
	err := run()
	if err == nil {
		return nil
	}
	mistakes, ok := errors.AsType[glue.Errors](err)
	if !ok {
		t.Fatal(err)
	}
	byDir := make(map[string]glue.Errors)
	for _, m := range mistakes {
		byDir[path.Dir(m.File)] = append(byDir[path.Dir(m.File)], m)
	}
	request = proto.CloneOf(request)
	request.FileToGenerate = slices.DeleteFunc(request.FileToGenerate, func(name string) bool { return byDir[path.Dir(name)] != nil })
	if err := run(); err != nil {
		t.Fatalf("without the files that have mistakes: %v", err)
	}
	return byDir
}

// duplicate matches the errors of Go's compiler about duplicate names.
var duplicate = regexp.MustCompile(`^(?:field and method with the same name |method (?:(\w+)\.)?|duplicate method )?(\w+)(?: redeclared in this block| already declared |$)`)

// verify compares the reported mistakes with the errors of Go's compiler. Code without
// a reported mistake compiles. Code with mistakes does not compile, because of the
// reported names.
func (w *world) verify(t *testing.T, files tree, reported map[string]glue.Errors) {
	t.Helper()
	for dir := range w.packages {
		mistakes := reported[dir]
		if mistakes == nil {
			if w.checked[dir] != nil {
				continue
			}
			if errs := w.check(dir, func(name string) bool { return !isVariant(name) }); len(errs) > 0 {
				t.Errorf("%s does not compile, but no mistake was reported: %v\n%s", dir, errs, files.show(dir))
			}
			continue
		}
		errs := w.check(dir, func(name string) bool { return !isOurs(name) && !isVariant(name) })
		if len(errs) == 0 {
			t.Errorf("%s compiles, but mistakes were reported: %v\n%s", dir, mistakes, files.show(dir))
		}
		for _, m := range mistakes {
			for _, place := range []glue.Place{m.Place, m.Other} {
				if lines := strings.Split(files[place.File], "\n"); place.File != "" && (place.Line > len(lines) || place.Column > len(lines[place.Line-1])) {
					t.Errorf("%s: the file has no place %s", m, place)
				}
			}
		}
		for _, err := range errs {
			wrong, ok := errors.AsType[types.Error](err)
			if !ok {
				t.Fatal(err)
			}
			if strings.HasPrefix(wrong.Msg, "field and method ") && sameMessage.MatchString(mistakes.Error()) {
				continue
			}
			if name := duplicate.FindStringSubmatch(wrong.Msg); name != nil && !isReported(mistakes, name[1]) && !isReported(mistakes, name[2]) {
				t.Errorf("%s: the compiler says %v, but only these mistakes were reported:\n%v\n%s", dir, err, mistakes, files.show(dir))
			}
		}
	}
}

// isReported reports whether a mistake names a Go name. Two methods of one name cause
// many further clashes, which are not reported. The caller handles the same case for two
// messages.
func isReported(mistakes glue.Errors, name string) bool {
	text := mistakes.Error()
	if name == "" {
		return false
	}
	if regexp.MustCompile(`\b` + name + `\b`).MatchString(text) {
		return true
	}
	return slices.ContainsFunc(method.FindAllStringSubmatch(text, -1), func(m []string) bool {
		return strings.HasPrefix(strings.TrimPrefix(name, "_"), m[1]+"_"+m[2])
	})
}

// sameMessage matches a mistake about two messages of one Go name. Their fields and
// methods clash too.
var sameMessage = regexp.MustCompile(`: message \S+: shares the Go name \S+ with message `)

// method matches the Go name in a mistake about two methods of one name.
var method = regexp.MustCompile(`\b(\w+)Client\.(\w+)`)

// show returns the files of a directory as a text for messages.
func (t tree) show(dir string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if path.Dir(name) == dir {
			fmt.Fprintf(&b, "-- %s --\n%s", name, t[name])
		}
	}
	return b.String()
}

// namesEnv is an environment variable with the number of packages that TestNames tries.
const namesEnv = "PLUGWIRE_NAMES"

// TestNames generates code for files with names of a few words, which are nested, joined
// and spelled in all ways that .proto files allow. The code compiles, or a mistake names
// two declarations with the same Go name.
func TestNames(t *testing.T) {
	t.Parallel()
	count := 120 // about 4000 declarations
	if value := os.Getenv(namesEnv); value != "" {
		var err error
		if count, err = strconv.Atoi(value); err != nil {
			t.Fatalf("%s: %v", namesEnv, err)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	files := make(tree)
	declared, attempt := 0, uint64(0)
	for i := 0; i < count; {
		r := &namer{Rand: rand.New(rand.NewPCG(seed, attempt))}
		dir := fmt.Sprintf("p%d", i)
		made := r.tree(dir)
		attempt++
		request, err := made.request(t.Context())
		if err == nil {
			_, err = protogen.Options{}.New(request)
		}
		if err != nil {
			continue // not valid .proto files
		}
		maps.Copy(files, made)
		declared += r.declared
		i++
	}
	request, err := files.request(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.generateForeign(t, request)
	reported := w.generateOurs(t, request)
	w.verify(t, files, reported)
	t.Logf("%d declarations in %d packages; %d packages have clashes", declared, count, len(reported))
	if len(reported) == 0 || len(reported) == count {
		t.Error("want packages with clashes and packages without, got only one kind")
	}
}

// TestNamesOfPackages generates code that imports Go packages whose names are also names
// of variables or declarations in generated code.
func TestNamesOfPackages(t *testing.T) {
	t.Parallel()
	files := make(tree)
	names := []string{
		"c", "ctx", "in", "out", "opts", "cOpts", "stream", "err", "x", "srv", "dec", "interceptor", "info", "handler", "req", "m", "t", "s",
		"context", "grpc", "codes", "status", "protocol", "protoreflect", "protoimpl", "sync", "unsafe", "reflect", "nil", "any", "func", "string",
		"init", "Taken", "asked", "asked2", "sClient", "sAdaptor", "isTaken_Kind", "b", "v", "p", "n", "rv", "sv", "mi", "ms", "b0", "ok",
	}
	for _, name := range names {
		files["in/"+name+"/"+name+".proto"] = fmt.Sprintf("syntax = \"proto3\";\npackage in.q_%s;\noption go_package = \"%sin/%s\";\nmessage M {}\nenum E { ZERO = 0; }\n", name, prefix, name)
		for use, text := range map[string]string{
			"unaryIn":   "service S { rpc Call(in.q_%[1]s.M) returns (Own); }",
			"unaryOut":  "service S { rpc Call(Own) returns (in.q_%[1]s.M); }",
			"clientIn":  "service S { rpc Call(stream in.q_%[1]s.M) returns (Own); }",
			"clientOut": "service S { rpc Call(stream Own) returns (in.q_%[1]s.M); }",
			"serverIn":  "service S { rpc Call(in.q_%[1]s.M) returns (stream Own); }",
			"serverOut": "service S { rpc Call(Own) returns (stream in.q_%[1]s.M); }",
			"bidiIn":    "service S { rpc Call(stream in.q_%[1]s.M) returns (stream Own); }",
			"bidiOut":   "service S { rpc Call(stream Own) returns (stream in.q_%[1]s.M); }",
			"field":     "message F { in.q_%[1]s.M m = 1; repeated in.q_%[1]s.M ms = 2; map<string, in.q_%[1]s.M> mm = 3; oneof o { in.q_%[1]s.M om = 4; } }",
			"enum":      "message F { in.q_%[1]s.E e = 1; }",
			"enumOneof": "message F { oneof o { in.q_%[1]s.E e = 1; string s = 2; } }",
			"enums":     "message F { repeated in.q_%[1]s.E e = 1; map<string, in.q_%[1]s.E> me = 2; }",
			"public":    "message Public {}",
		} {
			imports := fmt.Sprintf("import \"in/%[1]s/%[1]s.proto\";\n", name)
			if use == "public" {
				imports = strings.Replace(imports, "import", "import public", 1)
			} else {
				text = fmt.Sprintf(text, name)
			}
			dir := use + "_" + name
			files[dir+"/a.proto"] = fmt.Sprintf("syntax = \"proto3\";\npackage %[1]s;\n%[2]soption go_package = \"%[3]s%[1]s\";\nmessage Own {}\nmessage Taken { oneof kind { string a = 1; } }\n%[4]s\n",
				dir, imports, prefix, text)
		}
	}
	request, err := files.request(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.generateForeign(t, request)
	reported := w.generateOurs(t, request)
	w.verify(t, files, reported)
	if len(reported) == 0 {
		t.Error("no mistake was reported")
	}
}

// split holds files of one protocol. One file imports another.
var split = tree{
	"split/a.proto": `syntax = "proto3";
package split.words;
option go_package = "example.com/m/split";
message M {}
service A { rpc GetA(M) returns (M); }
`,
	"split/b.proto": `syntax = "proto3";
package split.words;
import "split/a.proto";
option go_package = "example.com/m/split";
service B { rpc GetB(M) returns (M); }
message AHandler {}
`,
	"split/c.proto": `syntax = "proto3";
package split.words;
option go_package = "example.com/m/split";
service C { rpc GetC(N) returns (N); }
message N {}
`,
}

// TestOrderOfFiles checks that the generated code does not depend on the order of files
// in a request.
func TestOrderOfFiles(t *testing.T) {
	t.Parallel()
	request, err := split.request(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w, want := newWorld(t), &world{packages: make(map[string]map[string]string)}
	w.generateForeign(t, request)
	for _, mistakes := range []map[string]glue.Errors{w.generateOurs(t, request), want.generateOurs(t, request)} {
		if mistakes != nil {
			t.Fatal(mistakes)
		}
	}
	w.verify(t, split, nil)

	files := request.ProtoFile // b.proto must be after a.proto
	files[0], files[1], files[2] = files[2], files[0], files[1]
	slices.Reverse(request.FileToGenerate)
	got := &world{packages: make(map[string]map[string]string)}
	if mistakes := got.generateOurs(t, request); mistakes != nil {
		t.Fatal(mistakes)
	}
	if diff := cmp.Diff(want.packages, got.packages); diff != "" {
		t.Errorf("in another order (-want +got):\n%s", diff)
	}
}

// TestSeveralRuns generates files of one protocol in several runs, as if a user called
// protoc for each. If one file imports another, that is a mistake. Otherwise the code
// does not compile.
func TestSeveralRuns(t *testing.T) {
	t.Parallel()
	request, err := split.request(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.generateForeign(t, request)
	for _, name := range []string{"split/a.proto", "split/c.proto"} {
		one, err := tree{name: split[name]}.request(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if mistakes := w.generateOurs(t, one); mistakes != nil {
			t.Fatal(mistakes)
		}
	}
	const redeclared = "generateInOneRun_split_words_1 redeclared"
	if errs := errors.Join(w.check("split", func(string) bool { return true })...); errs == nil || !strings.Contains(errs.Error(), redeclared) {
		t.Errorf("the compiler says %v, want %q", errs, redeclared)
	}

	request.FileToGenerate = []string{"split/b.proto"}
	plugin, err := protogen.Options{}.New(request)
	if err != nil {
		t.Fatal(err)
	}
	const want = "split/b.proto:5:1: service B: protocol split.words/1 also has service A (split/a.proto:5:1), whose code is not generated: generate both files in one run"
	if err := new(glue.Options).Generate(plugin); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
