package glue

import (
	"go/token"
	"go/types"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A declaration is the reason for a Go name in generated code.
type declaration struct {
	kind string
	of   protoreflect.Descriptor
	at   Place // the zero value stands for the place of of
}

func (d declaration) String() string {
	if file, ok := d.of.(protoreflect.FileDescriptor); ok {
		return d.kind + " " + file.Path()
	}
	return d.kind + " " + string(d.of.FullName())
}

func (d declaration) place() Place {
	if d.at.File != "" {
		return d.at
	}
	return placeOf(d.of)
}

// file returns the name of the .proto file whose code has the declaration.
func (d declaration) file() string {
	if d.at.File != "" {
		return d.at.File
	}
	return d.of.ParentFile().Path()
}

// A scope holds names that must differ: those of a Go package, of a type's fields and
// methods, or of an interface's methods.
type scope struct {
	names    map[string]declaration
	reported func(name string, first, second declaration) // called for each duplicate name
}

func newScope(reported func(name string, first, second declaration)) *scope {
	return &scope{make(map[string]declaration), reported}
}

// declare adds a name.
func (s *scope) declare(name, kind string, of protoreflect.Descriptor) {
	s.add(name, declaration{kind: kind, of: of})
}

func (s *scope) add(name string, d declaration) {
	if first, ok := s.names[name]; ok {
		s.reported(name, first, d)
		return
	}
	s.names[name] = d
}

// imports are the names under which a generated file imports packages.
type imports struct {
	names map[protogen.GoImportPath]string
	used  map[string]bool
}

func newImports() *imports {
	i := &imports{make(map[protogen.GoImportPath]string), make(map[string]bool)}
	for _, name := range types.Universe.Names() {
		i.used[name] = true
	}
	return i
}

// use returns the name of an imported package. It chooses like
// protogen.GeneratedFile.QualifiedGoIdent.
func (i *imports) use(importPath protogen.GoImportPath) string {
	if name, ok := i.names[importPath]; ok {
		return name
	}
	base := sanitized(path.Base(string(importPath)))
	name := base
	for n := 1; i.used[name]; n++ {
		name = base + strconv.Itoa(n)
	}
	i.names[importPath] = name
	i.used[name] = true
	return name
}

// sanitized makes a Go identifier of any text, like protogen.
func sanitized(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return '_'
	}, text)
	if r, _ := utf8.DecodeRuneInString(text); token.IsKeyword(text) || !unicode.IsLetter(r) {
		return "_" + text
	}
	return text
}
