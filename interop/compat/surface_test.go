//go:build linux

package compat_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/plugwire/plugwire/compat/goplugin"
	ourrunner "github.com/plugwire/plugwire/compat/goplugin/runner"
)

const (
	theirPath = "github.com/hashicorp/go-plugin"
	ourPath   = "github.com/plugwire/plugwire/compat/goplugin"
)

// exports has the export data of each package, by its path; set by TestMain.
var exports map[string]string

// list finds the export data of both modules.
func list() error {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export", theirPath, theirPath+"/runner", ourPath, ourPath+"/runner")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return fmt.Errorf("%s: %w", cmd, err)
	}
	exports = make(map[string]string)
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Export string }
		switch err := decoder.Decode(&p); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		exports[p.ImportPath] = p.Export
	}
}

// TestSurface compares what the two modules export: every name with its type, every field and
// every method.
func TestSurface(t *testing.T) {
	t.Parallel()
	from := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	for _, sub := range []string{"", "/runner"} {
		theirs, err := from.Import(theirPath + sub)
		if err != nil {
			t.Fatal(err)
		}
		have, err := from.Import(ourPath + sub)
		if err != nil {
			t.Fatal(err)
		}
		if theirs.Name() != have.Name() {
			t.Errorf("package %s, want %s", have.Name(), theirs.Name())
		}
		want, got := surface(theirs), surface(have)
		if len(want) < 4 {
			t.Fatalf("%s exports %q", theirs.Path(), want)
		}
		for _, line := range want {
			if !slices.Contains(got, line) {
				t.Errorf("missing: %s", line)
			}
		}
		for _, line := range got {
			if !slices.Contains(want, line) {
				t.Errorf("go-plugin does not have it: %s", line)
			}
		}
		t.Logf("%s: %d names, fields and methods", theirs.Path(), len(want))
	}
}

// surface returns a line for each exported name, field and method.
func surface(p *types.Package) (lines []string) {
	for _, name := range p.Scope().Names() {
		object := p.Scope().Lookup(name)
		if !object.Exported() {
			continue
		}
		switch object := object.(type) {
		case *types.Const:
			lines = append(lines, fmt.Sprintf("const %s %s = %s", name, form(object.Type()), object.Val()))
		case *types.Var:
			lines = append(lines, fmt.Sprintf("var %s %s", name, form(object.Type())))
		case *types.Func:
			lines = append(lines, fmt.Sprintf("func %s %s", name, form(object.Type())))
		case *types.TypeName:
			lines = append(lines, typeLines(name, object.Type())...)
		}
	}
	return lines
}

func typeLines(name string, t types.Type) (lines []string) {
	under := t.Underlying()
	if s, ok := under.(*types.Struct); ok {
		lines = append(lines, "type "+name+" struct")
		for i := range s.NumFields() {
			if field := s.Field(i); field.Exported() {
				lines = append(lines, fmt.Sprintf("type %s: field %s %s, embedded %t, tag %q", name, field.Name(), form(field.Type()), field.Embedded(), s.Tag(i)))
			}
		}
	} else {
		lines = append(lines, "type "+name+" "+form(under))
	}
	if types.IsInterface(t) {
		return lines
	}
	methods := types.NewMethodSet(types.NewPointer(t))
	onValue := types.NewMethodSet(t)
	for method := range methods.Methods() {
		if method := method.Obj(); method.Exported() {
			lines = append(lines, fmt.Sprintf("type %s: method %s %s, of values %t", name, method.Name(), form(method.Type()), onValue.Lookup(nil, method.Name()) != nil))
		}
	}
	return lines
}

// form returns a type's text, which is the same for the two modules. The types of package
// runner are named in one and not in the other, so they are written out.
func form(t types.Type) string {
	t = types.Unalias(t)
	switch t := t.(type) {
	case *types.Named:
		object := t.Obj()
		if object.Pkg() == nil {
			return object.Name()
		}
		path := object.Pkg().Path()
		if strings.HasSuffix(path, "go-plugin/runner") {
			return form(t.Underlying())
		}
		if path == ourPath {
			path = theirPath
		}
		return path + "." + object.Name()
	case *types.Pointer:
		return "*" + form(t.Elem())
	case *types.Slice:
		return "[]" + form(t.Elem())
	case *types.Map:
		return "map[" + form(t.Key()) + "]" + form(t.Elem())
	case *types.Chan:
		return fmt.Sprintf("chan%d %s", t.Dir(), form(t.Elem()))
	case *types.Signature:
		return fmt.Sprintf("func%s %s, variadic %t", formAll(t.Params()), formAll(t.Results()), t.Variadic())
	case *types.Interface:
		var methods []string
		for method := range t.Methods() {
			methods = append(methods, method.Name()+" "+form(method.Type()))
		}
		slices.Sort(methods)
		return "interface{" + strings.Join(methods, "; ") + "}"
	default:
		return t.String()
	}
}

func formAll(t *types.Tuple) string {
	var all []string
	for v := range t.Variables() {
		all = append(all, form(v.Type()))
	}
	return "(" + strings.Join(all, ", ") + ")"
}

// TestErrors compares the texts of errors, which programs look for.
func TestErrors(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]error{
		{goplugin.ErrProcessNotFound, plugin.ErrProcessNotFound},
		{goplugin.ErrChecksumsDoNotMatch, plugin.ErrChecksumsDoNotMatch},
		{goplugin.ErrSecureConfigNoChecksum, plugin.ErrSecureConfigNoChecksum},
		{goplugin.ErrSecureConfigNoHash, plugin.ErrSecureConfigNoHash},
		{goplugin.ErrSecureConfigAndReattach, plugin.ErrSecureConfigAndReattach},
		{goplugin.ErrGRPCBrokerMuxNotSupported, plugin.ErrGRPCBrokerMuxNotSupported},
		{goplugin.NewBasicError(io.EOF), plugin.NewBasicError(io.EOF)},
	} {
		if pair[0].Error() != pair[1].Error() {
			t.Errorf("%q, want %q", pair[1], pair[0])
		}
	}
	if plugin.NewBasicError(nil) != nil {
		t.Error("the text of no error is not nil")
	}
}

// A field of package plugin takes a value with the types of package runner, though neither
// imports the other.
var (
	_                        = plugin.ReattachConfig{ReattachFunc: ourrunner.ReattachFunc(nil)}
	_ ourrunner.ReattachFunc = plugin.ReattachConfig{}.ReattachFunc
)
