package glue

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
)

// A member is a service of a protocol.
type member struct {
	*protogen.Service
	file     *protogen.File
	optional bool   // a plugin may leave it out
	base     string // what the names of its identifiers begin with
}

// A group is the services of one Go package that belong to one protocol, in the
// order of their files' names, and then of the file.
type group struct {
	Identity
	members []*member
	base    string // what the names of the protocol's identifiers begin with
}

// owner is the file whose code has the protocol's value: the first by name, so
// that it is the same whatever the order of the files in a request.
func (g *group) owner() *protogen.File { return g.members[0].file }

// required returns the services that a plugin has to serve.
func (g *group) required() []*member {
	return slices.DeleteFunc(slices.Clone(g.members), func(m *member) bool { return m.optional })
}

// optional returns those that it may leave out.
func (g *group) optional() []*member {
	return slices.DeleteFunc(slices.Clone(g.members), func(m *member) bool { return !m.optional })
}

// lead is the service by which the protocol is called, as it is the only one, or
// the only one that is not optional; otherwise nil.
func (g *group) lead() *member {
	if required := g.required(); len(required) == 1 {
		return required[0]
	}
	if len(g.members) == 1 {
		return g.members[0]
	}
	return nil
}

// together reports whether one handler can serve all required services, of which
// there are several: no two have a method of the same name.
func (g *group) together() bool {
	required := g.required()
	seen := make(map[string]bool)
	for _, s := range required {
		for _, m := range s.Methods {
			if seen[m.GoName] {
				return false
			}
			seen[m.GoName] = true
		}
	}
	return len(required) > 1
}

// A goPackage is the files of a request whose code is one Go package.
type goPackage struct {
	files  []*protogen.File // in the order of their names; they need not all be generated
	groups []*group
	scope  *scope
	// imports has the names under which files import other packages.
	imports map[string]bool
}

// goPackages returns the packages of which at least one file is generated.
func goPackages(plugin *protogen.Plugin) []*goPackage {
	type key struct{ importPath, dir string }
	byKey := make(map[key]*goPackage)
	generated := make(map[*goPackage]bool)
	var all []*goPackage
	for _, file := range plugin.Files {
		// With paths=source_relative two directories are two packages, whatever
		// their files say.
		k := key{string(file.GoImportPath), path.Dir(file.GeneratedFilenamePrefix)}
		p := byKey[k]
		if p == nil {
			p = &goPackage{imports: make(map[string]bool)}
			byKey[k] = p
			all = append(all, p)
		}
		p.files = append(p.files, file)
		generated[p] = generated[p] || file.Generate
	}
	all = slices.DeleteFunc(all, func(p *goPackage) bool { return !generated[p] })
	for _, p := range all {
		slices.SortFunc(p.files, func(a, b *protogen.File) int { return strings.Compare(a.Desc.Path(), b.Desc.Path()) })
	}
	return all
}

// group finds the protocols of a package, in the order of their first services.
func (p *goPackage) group(o *Options) Errors {
	var mistakes Errors
	byIdentity := make(map[Identity]*group)
	for _, file := range p.files {
		for _, service := range file.Services {
			set, err := o.settingsOf(service.Desc)
			var id Identity
			if err == nil {
				id, err = set.identityOf(service.Desc)
			}
			if err != nil {
				if file.Generate {
					mistakes = append(mistakes, newError(service.Desc, fmt.Sprintf("service %s: %v", service.Desc.Name(), err)))
				}
				continue
			}
			if id == (Identity{}) {
				continue // left out
			}
			g := byIdentity[id]
			if g == nil {
				g = &group{Identity: id}
				byIdentity[id] = g
				p.groups = append(p.groups, g)
			}
			g.members = append(g.members, &member{Service: service, file: file, optional: set.presence == optional})
		}
	}
	for _, g := range p.groups {
		mistakes = append(mistakes, g.checkRun()...)
	}
	return mistakes
}

// checkRun returns an error if a protocol has services in a file that is
// generated, and in one that is not: its value would lack the latter, or be
// generated without the former.
func (g *group) checkRun() Errors {
	generated := func(m *member) bool { return m.file.Generate }
	in := slices.IndexFunc(g.members, generated)
	out := slices.IndexFunc(g.members, func(m *member) bool { return !m.file.Generate })
	if in < 0 || out < 0 {
		return nil
	}
	return Errors{{
		Place: placeOf(g.members[in].Desc), Other: placeOf(g.members[out].Desc),
		before: fmt.Sprintf("service %s: protocol %s also has service %s", g.members[in].Desc.Name(), g.Identity, g.members[out].Desc.Name()),
		after:  ", whose code is not generated: generate both files in one run",
	}}
}
