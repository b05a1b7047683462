package docs_test

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const configuration = "docs/configuration.md"

// short maps the packages that users import from their names on the page to their
// directories. The page names other packages by their directories.
var short = map[string]string{
	"host": "core/host", "plugin": "core/plugin", "plugintest": "core/plugintest", "protocol": "core/protocol",
	"supervise": "core/supervise", "manifest": "core/manifest",
	"handshake": "core/handshake", "broker": "core/broker", "transport": "core/transport",
	"unix": "transport/unix", "tcp": "transport/tcp", "quic": "transport/quic",
}

// A goPackage is what a page can name in a package.
type goPackage struct {
	exported  map[string]bool
	options   []string            // exported functions that return an Option
	constants map[string]ast.Expr // values of all constants, exported or not
}

// parsePackage reads the files of a package, for all systems and without tests.
func parsePackage(t *testing.T, dir string) goPackage {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %d files, %v", dir, len(names), err)
	}
	p := goPackage{exported: make(map[string]bool), constants: make(map[string]ast.Expr)}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				p.addFunction(decl)
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					p.addSpec(spec, decl.Tok)
				}
			}
		}
	}
	return p
}

func (p *goPackage) addFunction(f *ast.FuncDecl) {
	if f.Recv != nil || !f.Name.IsExported() {
		return
	}
	p.exported[f.Name.Name] = true
	if f.Type.Results.NumFields() != 1 {
		return
	}
	if result, ok := f.Type.Results.List[0].Type.(*ast.Ident); ok && result.Name == "Option" {
		p.options = append(p.options, f.Name.Name)
	}
}

func (p *goPackage) addSpec(spec ast.Spec, tok token.Token) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		p.exported[spec.Name.Name] = spec.Name.IsExported()
	case *ast.ValueSpec:
		for i, name := range spec.Names {
			p.exported[name.Name] = name.IsExported()
			if tok == token.CONST && len(spec.Values) == len(spec.Names) {
				p.constants[name.Name] = spec.Values[i]
			}
		}
	}
}

// namedInRows returns how many rows of the page are about a name.
func namedInRows(t *testing.T) map[string]int {
	t.Helper()
	named := make(map[string]int)
	for _, row := range rows(read(t, configuration)) {
		for _, cell := range row[:2] {
			if s := spans(cell); len(s) == 1 && cell == "`"+s[0]+"`" {
				named[s[0]]++
			}
		}
	}
	return named
}

// TestConfigurationNamesEverything checks that each option, each exported default or
// limit, and each variable of the handshake is in exactly one row.
func TestConfigurationNamesEverything(t *testing.T) {
	named := namedInRows(t)
	for name, dir := range short {
		p := parsePackage(t, dir)
		want := slices.Clone(p.options)
		for constant := range p.constants {
			if regexp.MustCompile(`^(Default|Max|Env)[A-Z]`).MatchString(constant) {
				want = append(want, constant)
			}
		}
		for _, identifier := range want {
			most := 1
			if identifier == "DefaultCookieName" { // it is a variable and a default
				most = 2
			}
			if n := named[name+"."+identifier]; n < 1 || n > most {
				t.Errorf("%s.%s is in %d rows of %s, want it in one", name, identifier, n, configuration)
			}
		}
	}
}

// noLimits are constants that have the name of a limit and are none, with the reason.
var noLimits = map[string]string{
	"core/internal/negotiation.maxLegacyData": "recognizes a field of go-plugin's past",
	"core/internal/logs.maxStamp":             "recognizes a time stamp",
	"core/internal/rpc/h2.maxConnectTimeout":  "turns grpc's own limit off",
	"transport/quic.maxCoalesced":             "is the system's",
	"core/host.maxSocketDir":                  "is the system's",
	"core/host.maxGroup":                      "is the system's",
	"transport/unix.maxPath":                  "is the system's",
	"core/internal/board.maxPath":             "is the system's",
}

// TestConfigurationNamesEveryLimit checks that each constant of core and the transports
// that has the name of a limit is in exactly one row.
func TestConfigurationNamesEveryLimit(t *testing.T) {
	limit := regexp.MustCompile(`^max[A-Z]|(Timeout|Window|Grace|Patience|Backlog)$`)
	named, unused := namedInRows(t), maps.Clone(noLimits)
	public := slices.Collect(maps.Values(short))
	for _, dir := range append(packagesOf(t, "core"), packagesOf(t, "transport")...) {
		for constant := range parsePackage(t, dir).constants {
			name := dir + "." + constant
			if !limit.MatchString(constant) || ast.IsExported(constant) && slices.Contains(public, dir) {
				continue // TestConfigurationNamesEverything checks what users can name
			}
			delete(unused, name)
			if n := named[name]; n != 1 && noLimits[name] == "" {
				t.Errorf("%s is in %d rows of %s, want it in one, or in noLimits", name, n, configuration)
			}
		}
	}
	for name := range unused {
		t.Errorf("noLimits has %s, which is not there any more", name)
	}
}

// packagesOf returns the directories of the packages below a directory, except those
// that only tests import.
func packagesOf(t *testing.T, top string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(filepath.Join(root, top), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if name := entry.Name(); name == "e2e" || name == "testdata" || name != "plugintest" && strings.HasSuffix(name, "test") {
			return filepath.SkipDir
		}
		files, err := filepath.Glob(filepath.Join(path, "*.go"))
		if err != nil || len(files) == 0 {
			return err
		}
		relative, err := filepath.Rel(root, path)
		found = append(found, filepath.ToSlash(relative))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestConfigurationNamesWhatThereIs checks that everything that the page names is in the
// code, and that each value on the page is that of its constant.
func TestConfigurationNamesWhatThereIs(t *testing.T) {
	packages := make(map[string]goPackage)
	qualified := regexp.MustCompile(`^([a-z0-9/]+)\.([A-Za-z0-9]+)$`)
	inParentheses := regexp.MustCompile("`([^`]+)` \\(([^)]+)\\)")
	checked := 0
	for i, line := range prose(read(t, configuration)) {
		for _, span := range spans(line) {
			m := qualified.FindStringSubmatch(span)
			if m == nil || strings.HasSuffix(span, ".proto") {
				continue
			}
			dir, ok := short[m[1]]
			if !ok {
				dir = m[1]
			}
			if dir == "exec" {
				continue
			}
			p, ok := packages[dir]
			if !ok {
				p = parsePackage(t, dir)
				packages[dir] = p
			}
			if _, isConstant := p.constants[m[2]]; !isConstant && !p.exported[m[2]] {
				t.Errorf("%s:%d: there is no %s", configuration, i+1, span)
			}
		}
		values := inParentheses.FindAllStringSubmatch(line, -1)
		if cells := strings.Split(line, "|"); len(cells) > 3 {
			values = append(values, []string{"", strings.Trim(cells[1], " `"), strings.TrimSpace(cells[2])})
		}
		for _, v := range values {
			m := qualified.FindStringSubmatch(v[1])
			if m == nil {
				continue
			}
			dir, ok := short[m[1]]
			if !ok {
				dir = m[1]
			}
			expr, ok := packages[dir].constants[m[2]]
			if !ok {
				continue
			}
			checked++
			if got, want := valueOf(t, expr, packages[dir].constants), meaning(t, v[2]); got != want {
				t.Errorf("%s:%d: %s is %s, and %s on the page", configuration, i+1, v[1], types.ExprString(expr), v[2])
			}
		}
	}
	if checked == 0 {
		t.Error("no value was checked")
	}
}

// valueOf returns the value of a constant: a string, a number, or the nanoseconds of a
// duration.
func valueOf(t *testing.T, expr ast.Expr, others map[string]ast.Expr) string {
	t.Helper()
	text := regexp.MustCompile(`time\.\w+`).ReplaceAllStringFunc(types.ExprString(expr), func(unit string) string {
		return strconv.FormatInt(units[unit], 10)
	})
	text = regexp.MustCompile(`\b[a-zA-Z]\w*`).ReplaceAllStringFunc(text, func(name string) string {
		if other := others[name]; other != nil {
			return valueOf(t, other, others)
		}
		return name
	})
	value, err := types.Eval(token.NewFileSet(), nil, token.NoPos, text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if value.Value.Kind() == constant.String {
		return constant.StringVal(value.Value)
	}
	return value.Value.ExactString()
}

// units are the units of constants and of the page.
var units = map[string]int64{
	"time.Millisecond": 1e6, "time.Second": 1e9, "time.Minute": 60e9, "time.Hour": 3600e9,
	"ms": 1e6, "s": 1e9, "min": 60e9, "h": 3600e9,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
}

// meaning returns what a value on the page stands for, as valueOf does.
func meaning(t *testing.T, text string) string {
	t.Helper()
	if literal, ok := strings.CutPrefix(text, "`"); ok {
		return strings.TrimSuffix(literal, "`")
	}
	number, unit, ok := strings.Cut(text, " ")
	if !ok {
		return number
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || units[unit] == 0 {
		t.Fatalf("%q is no value: want 64, 64 KiB, 500 ms or `text`, for example", text)
	}
	return strconv.FormatInt(n*units[unit], 10)
}

// TestVariables compares the variables on the page with those that the released
// modules know: constants of the handshake, and names that are looked up.
func TestVariables(t *testing.T) {
	known := make(map[string]bool)
	constants := parsePackage(t, "core/handshake").constants
	maps.Copy(constants, parsePackage(t, "core/internal/negotiation").constants)
	for name, expr := range constants {
		if literal, ok := expr.(*ast.BasicLit); ok && (strings.HasPrefix(name, "Env") || name == "DefaultCookieName") {
			variable, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			known[variable] = true
		}
	}
	for _, module := range []string{"core", "transport", "codegen"} {
		maps.Copy(known, lookedUp(t, module))
	}
	_, section, _ := strings.Cut(read(t, configuration), "\n## 5. ")
	section, _, _ = strings.Cut(section, "\n## ")
	listed := make(map[string]bool)
	for _, row := range rows(section) {
		if s := spans(row[0]); len(s) == 1 {
			listed[s[0]] = true
		}
	}
	for name := range known {
		if !listed[name] {
			t.Errorf("%s does not list %s", configuration, name)
		}
	}
	for name := range listed {
		if !known[name] {
			t.Errorf("%s lists %s, which nothing reads", configuration, name)
		}
	}
}

// lookedUp returns the variables that the code below a directory looks up by
// their names.
func lookedUp(t *testing.T, dir string) map[string]bool {
	t.Helper()
	found := make(map[string]bool)
	err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(filepath.ToSlash(path), "/internal/e2e/") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if name, ok := variableOf(n, file); ok {
				found[name] = true
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// variableOf returns the name that a call of os.Getenv or os.LookupEnv is given,
// as a literal or by a constant of the file.
func variableOf(n ast.Node, file *ast.File) (string, bool) {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) != 1 {
		return "", false
	}
	if f := types.ExprString(call.Fun); f != "os.Getenv" && f != "os.LookupEnv" {
		return "", false
	}
	literal, ok := call.Args[0].(*ast.BasicLit)
	if name, isName := call.Args[0].(*ast.Ident); isName {
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, is := n.(*ast.ValueSpec); is && spec.Names[0].Name == name.Name && len(spec.Values) == 1 {
				literal, ok = spec.Values[0].(*ast.BasicLit)
			}
			return true
		})
	}
	if !ok {
		return "", false // a constant of handshake, or what a caller asks for
	}
	name, err := strconv.Unquote(literal.Value)
	return name, err == nil
}

func TestMeaning(t *testing.T) {
	for text, want := range map[string]string{"64": "64", "1 min": "60000000000", "500 ms": "500000000", "256 MiB": "268435456", "`x`": "x"} {
		if got := meaning(t, text); got != want {
			t.Errorf("meaning(%q) = %s, want %s", text, got, want)
		}
	}
}
