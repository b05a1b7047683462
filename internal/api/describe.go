package api

import (
	"cmp"
	"fmt"
	"go/types"
	"slices"
	"strconv"
	"strings"
)

// repository is the beginning of the import paths that the lists leave out.
const repository = "github.com/plugwire/plugwire/"

// short returns the import path of a package as lists have it.
func short(pkg *types.Package) string { return strings.TrimPrefix(pkg.Path(), repository) }

// describe returns a line for each thing that a package exports and a program can depend
// on. A line that disappears is an incompatible change; a new line is not. So a thing to
// which something may be added has several lines, such as a struct, and one to which
// nothing may be added has one, such as an interface that users implement.
func describe(pkg *types.Package) []string {
	d := describer{pkg: pkg}
	scope := pkg.Scope()
	for _, name := range scope.Names() {
		if obj := scope.Lookup(name); obj.Exported() {
			d.object(obj)
		}
	}
	slices.Sort(d.lines)
	return d.lines
}

type describer struct {
	pkg   *types.Package
	lines []string
}

func (d *describer) add(format string, args ...any) {
	d.lines = append(d.lines, short(d.pkg)+": "+fmt.Sprintf(format, args...))
}

func (d *describer) object(obj types.Object) {
	switch obj := obj.(type) {
	case *types.Const:
		d.add("const %s %s = %s", obj.Name(), d.of(obj.Type()), obj.Val().ExactString())
	case *types.Var:
		d.add("var %s %s", obj.Name(), d.of(obj.Type()))
	case *types.Func:
		d.add("func %s%s", obj.Name(), d.signature(obj.Signature()))
	case *types.TypeName:
		d.typeName(obj)
	}
}

func (d *describer) typeName(obj *types.TypeName) {
	if alias, ok := obj.Type().(*types.Alias); ok {
		d.add("type %s%s = %s", obj.Name(), d.params(alias.TypeParams()), d.of(alias.Rhs()))
		return
	}
	named, ok := obj.Type().(*types.Named)
	if !ok {
		d.add("type %s %s", obj.Name(), d.of(obj.Type()))
		return
	}
	name := obj.Name() + d.params(named.TypeParams())
	switch under := named.Underlying().(type) {
	case *types.Struct:
		d.add("type %s struct", name)
		d.fields(name, under)
		if types.Comparable(named) {
			d.add("type %s struct, comparable", name)
		}
	case *types.Interface:
		d.interfaceType(name, under)
		return // its methods are listed
	default:
		d.add("type %s %s", name, d.of(under))
	}
	d.methods(named)
}

func (d *describer) fields(name string, s *types.Struct) {
	for f := range s.Fields() {
		switch {
		case !f.Exported():
		case f.Embedded():
			d.add("type %s struct, embeds %s", name, d.of(f.Type()))
		default:
			d.add("type %s struct, %s %s", name, f.Name(), d.of(f.Type()))
		}
	}
}

// interfaceType adds one line for an interface that users can implement: a new method
// would break them. One with methods that are not exported may get more.
func (d *describer) interfaceType(name string, i *types.Interface) {
	sealed := false
	for m := range i.Methods() {
		sealed = sealed || !m.Exported()
	}
	if !sealed {
		d.add("type %s %s", name, d.of(i))
		return
	}
	d.add("type %s interface, with methods that are not exported", name)
	for m := range i.Methods() {
		if m.Exported() {
			d.add("type %s interface, %s%s", name, m.Name(), d.signature(m.Signature()))
		}
	}
}

func (d *describer) methods(named *types.Named) {
	values := types.NewMethodSet(named)
	for s := range types.NewMethodSet(types.NewPointer(named)).Methods() {
		m, ok := s.Obj().(*types.Func)
		if !ok || !m.Exported() {
			continue
		}
		star := "*"
		if values.Lookup(m.Pkg(), m.Name()) != nil {
			star = ""
		}
		d.add("method (%s%s) %s%s", star, named.Obj().Name(), m.Name(), d.signature(m.Signature()))
	}
}

// params returns the type parameters of a declaration.
func (d *describer) params(list *types.TypeParamList) string {
	if list.Len() == 0 {
		return ""
	}
	var parts []string
	for p := range list.TypeParams() {
		parts = append(parts, p.Obj().Name()+" "+d.of(p.Constraint()))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// signature returns a function's type without the names of its parameters, which no
// program depends on.
func (d *describer) signature(s *types.Signature) string {
	text := d.params(s.TypeParams()) + "(" + d.tuple(s.Params(), s.Variadic()) + ")"
	switch results := d.tuple(s.Results(), false); s.Results().Len() {
	case 0:
		return text
	case 1:
		return text + " " + results
	default:
		return text + " (" + results + ")"
	}
}

func (d *describer) tuple(t *types.Tuple, variadic bool) string {
	var parts []string
	for v := range t.Variables() {
		parts = append(parts, d.of(v.Type()))
	}
	if last := len(parts) - 1; variadic {
		parts[last] = "..." + strings.TrimPrefix(parts[last], "[]")
	}
	return strings.Join(parts, ", ")
}

// of returns the text of a type. It is as that of package types, but without the names
// of parameters.
func (d *describer) of(t types.Type) string {
	switch t := t.(type) {
	case *types.Signature:
		return "func" + d.signature(t)
	case *types.Pointer:
		return "*" + d.of(t.Elem())
	case *types.Slice:
		return "[]" + d.of(t.Elem())
	case *types.Array:
		return "[" + strconv.FormatInt(t.Len(), 10) + "]" + d.of(t.Elem())
	case *types.Map:
		return "map[" + d.of(t.Key()) + "]" + d.of(t.Elem())
	case *types.Chan:
		return [...]string{types.SendRecv: "chan ", types.SendOnly: "chan<- ", types.RecvOnly: "<-chan "}[t.Dir()] + d.of(t.Elem())
	case *types.Interface:
		return d.ofInterface(t)
	case *types.Named:
		return d.name(t.Obj(), t.TypeArgs())
	case *types.Alias:
		return d.name(t.Obj(), t.TypeArgs())
	default: // basic types, type parameters, unions; structs without a name
		return types.TypeString(t, d.qualify)
	}
}

func (d *describer) ofInterface(t *types.Interface) string {
	var parts []string
	for m := range t.Methods() { // those of embedded interfaces too
		parts = append(parts, m.Name()+d.signature(m.Signature()))
	}
	if !t.IsMethodSet() {
		for e := range t.EmbeddedTypes() {
			parts = append(parts, d.of(e))
		}
	}
	if len(parts) == 0 {
		return "any"
	}
	slices.SortFunc(parts, cmp.Compare[string])
	return "interface{ " + strings.Join(parts, "; ") + " }"
}

func (d *describer) name(obj *types.TypeName, args *types.TypeList) string {
	name := obj.Name()
	if obj.Pkg() != nil && obj.Pkg() != d.pkg {
		name = short(obj.Pkg()) + "." + name
	}
	var parts []string
	for a := range args.Types() {
		parts = append(parts, d.of(a))
	}
	if len(parts) > 0 {
		name += "[" + strings.Join(parts, ", ") + "]"
	}
	return name
}

func (d *describer) qualify(pkg *types.Package) string {
	if pkg == d.pkg {
		return ""
	}
	return short(pkg)
}
