package glue

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func protocolName(base string) string { return base + "Protocol" }

func handlerName(base string) string { return base + "Handler" }

func serveName(base string) string { return "Serve" + base }

func adaptorName(base string) string { return unexported(base) + "Adaptor" }

// names returns the identifiers that glue declares for the service.
func (m *member) names(g *group, base string) []string {
	names := []string{handlerName(base), serveName(base), adaptorName(base)}
	if g.lead() == m {
		names = append(names, protocolName(base))
	}
	return names
}

// names returns the identifiers that glue declares for all services of the protocol
// together.
func (g *group) names(base string) []string {
	names := []string{protocolName(base)}
	if g.together() {
		names = append(names, handlerName(base), serveName(base))
	}
	return names
}

// preferred returns the preferred beginning of the identifiers of a protocol with
// several services. It is the last part of the protocol's name. The version follows
// unless the package has it.
func (g *group) preferred() string {
	last := g.Name[strings.LastIndex(g.Name, ".")+1:]
	parts := strings.FieldsFunc(last, func(r rune) bool { return r == '-' || r == '_' })
	for i, part := range parts {
		parts[i] = strings.ToUpper(part[:1]) + part[1:]
	}
	base := strings.Join(parts, "")
	if base == "" || base[0] >= '0' && base[0] <= '9' {
		base = "Protocol" + base
	}
	if g.Version > 1 && !strings.HasSuffix(string(g.owner().Desc.Package()), fmt.Sprintf(".v%d", g.Version)) {
		base += fmt.Sprintf("V%d", g.Version)
	}
	return base
}

// mark returns the name of a constant that the code of each protocol declares once. If
// the files of a protocol are generated in several runs, there are two declarations, and
// the code does not compile.
func (g *group) mark() string {
	name := strings.NewReplacer(".", "_", "_", "__", "-", "___").Replace(g.Name)
	return fmt.Sprintf("generateInOneRun_%s_%d", name, g.Version)
}

// declare fills the package's scope with the names that the other generators declare. It
// returns an error for each clash among them. Only a change of the .proto files can
// resolve such a clash.
func (p *goPackage) declare(plugin *protogen.Plugin) Errors {
	var mistakes Errors
	generated := make(map[string]bool)
	for _, file := range p.files {
		generated[file.Desc.Path()] = file.Generate
	}
	report := func(name string, first, second declaration) {
		if !generated[second.file()] {
			first, second = second, first
		}
		if generated[second.file()] {
			mistakes = append(mistakes, sameName(name, first, second))
		}
	}
	p.scope = newScope(report)
	for _, file := range p.files {
		p.scope.declareFile(file)
		for _, service := range file.Services {
			p.scope.declareStubs(service)
		}
	}
	for _, file := range p.files {
		p.scope.declarePublicImports(plugin, file)
	}
	for _, file := range p.files {
		if found := p.checkImports(plugin, file); file.Generate {
			mistakes = append(mistakes, found...)
		}
	}
	return mistakes
}

// checkImports fills p.imports with the names under which the file's code imports Go
// packages. It returns an error for each that Go does not allow, or that another
// declaration hides.
func (p *goPackage) checkImports(plugin *protogen.Plugin, file *protogen.File) Errors {
	var mistakes Errors
	hidden := func(at protoreflect.Descriptor, kind string, of protoreflect.Descriptor, importPath protogen.GoImportPath) {
		mistakes = append(mistakes, newError(at, fmt.Sprintf("%s: the Go package of %s is %s, and generated code has a variable of the same name: end the path in its go_package with another word",
			declaration{kind: kind, of: at}, of.FullName(), importPath)))
	}
	all := []*imports{
		importsOf(plugin, file, func(f *protogen.Field) { hidden(f.Desc, "field", f.Enum.Desc, f.Enum.GoIdent.GoImportPath) }),
		stubImports(file, func(m *protogen.Method, of *protogen.Message) {
			hidden(m.Desc, "method", of.Desc, of.GoIdent.GoImportPath)
		}),
	}
	list := file.Desc.Imports()
	for i := range list.Len() {
		imported := plugin.FilesByPath[list.Get(i).Path()]
		if imported != nil && imported.GoImportPath != file.GoImportPath && imported.GoPackageName == "main" {
			mistakes = append(mistakes, p.unimportable(plugin, file, imported.GoImportPath, "is package main, which Go cannot import: use another name in its go_package"))
		}
	}
	for _, found := range all {
		for importPath, name := range found.names {
			p.imports[name] = true
			if name == "init" { // Go allows only functions of this name
				mistakes = append(mistakes, p.unimportable(plugin, file, importPath, "is imported under the name init, which Go does not allow: end the path in its go_package with another word"))
			}
			if other, ok := p.scope.names[name]; ok {
				e := sameName(name, other, declaration{kind: "file", of: file.Desc})
				e.before = fmt.Sprintf("the Go package %s is imported under the name %s, which is generated for %s", importPath, name, other)
				e.after = ": rename it, or end the path in the package's go_package with another word"
				mistakes = append(mistakes, e)
			}
		}
	}
	return mistakes
}

// unimportable returns an error about a Go package that the file imports. Its place is
// the import.
func (p *goPackage) unimportable(plugin *protogen.Plugin, file *protogen.File, importPath protogen.GoImportPath, text string) *Error {
	at := placeAt(file.Desc, packageField)
	list := file.Desc.Imports()
	for i := range list.Len() {
		if imported := plugin.FilesByPath[list.Get(i).Path()]; imported != nil && imported.GoImportPath == importPath {
			at = placeAt(file.Desc, dependency, int32(i))
		}
	}
	return &Error{Place: at, before: fmt.Sprintf("the Go package %s %s", importPath, text)}
}

// sameName returns an error about two declarations with the same Go name.
func sameName(name string, first, second declaration) *Error {
	return &Error{
		Place: second.place(), Other: first.place(),
		before: fmt.Sprintf("%s: shares the Go name %s with %s", second, name, first),
		after:  ": rename one of them",
	}
}

// name chooses unused identifiers for services and protocols. They must be unused in the
// whole package, so the request must have all of its files. Services choose first: those
// that can use their own name, then the others.
func (p *goPackage) name() Errors {
	taken := make(map[string]bool)
	free := func(names []string) bool {
		return !slices.ContainsFunc(names, func(name string) bool {
			_, declared := p.scope.names[name]
			return declared || taken[name] || p.imports[name]
		})
	}
	claim := func(names []string) {
		for _, name := range names {
			taken[name] = true
		}
	}
	services := make(map[string]bool)
	for _, own := range []bool{true, false} {
		for _, g := range p.groups {
			for _, m := range g.members {
				if m.base != "" {
					continue
				}
				fits := func(base string) bool { return free(m.names(g, base)) && !hidesMethod(m, base) }
				if !own {
					m.base = firstFree(m.GoName+"Service", fits)
				} else if fits(m.GoName) {
					m.base = m.GoName
				}
				if m.base != "" {
					claim(m.names(g, m.base))
					services[m.GoName], services[m.base] = true, true
				}
			}
		}
	}
	marks := make(map[string]*group)
	var mistakes Errors
	for _, g := range p.groups {
		if lead := g.lead(); lead != nil {
			g.base = lead.base
		} else {
			// MultiProtocol would look like the protocol of a service Multi.
			fits := func(base string) bool { return free(g.names(base)) && !services[base] }
			if g.base = g.preferred(); !fits(g.base) {
				g.base = firstFree(g.base+"Services", fits)
			}
			claim(g.names(g.base))
		}
		if other := marks[g.mark()]; other != nil && g.owner().Generate {
			mistakes = append(mistakes, &Error{
				Place: placeOf(g.members[0].Desc), Other: placeOf(other.members[0].Desc),
				before: fmt.Sprintf("protocol %s differs only in punctuation from protocol %s", g, other), after: ": choose another name for one of them",
			})
		}
		marks[g.mark()] = g
	}
	return mistakes
}

// firstFree returns the first name that fits: base, or base with a number.
func firstFree(base string, fits func(string) bool) string {
	name := base
	for n := 2; !fits(name); n++ {
		name = fmt.Sprintf("%s%d", base, n)
	}
	return name
}

// hidesMethod reports whether a method of the service has the name of the embedded
// handler in the service's adaptor. Then the field would hide the method.
func hidesMethod(m *member, base string) bool {
	return slices.ContainsFunc(m.Methods, func(method *protogen.Method) bool { return method.GoName == handlerName(base) })
}
