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

// names returns what is declared for the service.
func (m *member) names(g *group, base string) []string {
	names := []string{handlerName(base), serveName(base), adaptorName(base)}
	if g.lead() == m {
		names = append(names, protocolName(base))
	}
	return names
}

// names returns what is declared for all services of the protocol together.
func (g *group) names(base string) []string {
	names := []string{protocolName(base)}
	if g.together() {
		names = append(names, handlerName(base), serveName(base))
	}
	return names
}

// preferred returns what the names of a protocol of several services begin with,
// if they are free: the last part of its name, and its version unless the package
// says it.
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

// mark is the name of a constant that the code of each protocol declares once. If
// files of one protocol are generated in several runs, it is declared again, and
// Go's compiler says so.
func (g *group) mark() string {
	name := strings.NewReplacer(".", "_", "_", "__", "-", "___").Replace(g.Name)
	return fmt.Sprintf("generateInOneRun_%s_%d", name, g.Version)
}

// declare fills the package's scope with what the other generators declare, and
// returns an error for each clash among that, which is in the .proto files: the
// names of the other generators cannot be changed.
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

// checkImports notes the names of the Go packages that the file's code imports, and
// returns an error for each that is also the name of something else.
func (p *goPackage) checkImports(plugin *protogen.Plugin, file *protogen.File) Errors {
	var mistakes Errors
	hidden := func(at protoreflect.Descriptor, kind string, of protoreflect.Descriptor, importPath protogen.GoImportPath) {
		mistakes = append(mistakes, newError(at, fmt.Sprintf("%s: the Go package of %s is %s, whose name is that of a variable in the code of protoc-gen-go or protoc-gen-go-grpc: let the path in its go_package end with another word",
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
			mistakes = append(mistakes, p.unimportable(plugin, file, imported.GoImportPath, "is package main, which Go does not import: give it another name in its go_package"))
		}
	}
	for _, found := range all {
		for importPath, name := range found.names {
			p.imports[name] = true
			if name == "init" { // which Go allows for functions only
				mistakes = append(mistakes, p.unimportable(plugin, file, importPath, "is imported under the name init, which Go does not allow: let the path in its go_package end with another word"))
			}
			if other, ok := p.scope.names[name]; ok {
				e := sameName(name, other, declaration{kind: "file", of: file.Desc})
				e.before = fmt.Sprintf("the Go package %s is imported under the name %s, which is generated for %s", importPath, name, other)
				e.after = ": rename it, or let the path in the package's go_package end with another word"
				mistakes = append(mistakes, e)
			}
		}
	}
	return mistakes
}

// unimportable returns an error about a Go package that the file imports, at the
// import.
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

// sameName returns an error about a Go name that is generated twice.
func sameName(name string, first, second declaration) *Error {
	return &Error{
		Place: second.place(), Other: first.place(),
		before: fmt.Sprintf("%s: the Go name %s is generated for it, and for %s", second, name, first),
		after:  ": rename one of them",
	}
}

// name chooses names that are free: in the whole package, which is why all of its
// files have to be in one request. Services come first, those whose own name will
// do before the others.
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
				before: fmt.Sprintf("protocol %s differs from protocol %s in punctuation only", g, other), after: ": give one of them another name",
			})
		}
		marks[g.mark()] = g
	}
	return mistakes
}

// firstFree returns base, or base and a number.
func firstFree(base string, fits func(string) bool) string {
	name := base
	for n := 2; !fits(name); n++ {
		name = fmt.Sprintf("%s%d", base, n)
	}
	return name
}

// hidesMethod reports whether the service has a method called as the field by
// which its adaptor embeds the handler: the field would hide it.
func hidesMethod(m *member, base string) bool {
	return slices.ContainsFunc(m.Methods, func(method *protogen.Method) bool { return method.GoName == handlerName(base) })
}
