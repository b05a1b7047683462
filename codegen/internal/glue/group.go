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
	optional bool   // a plugin may leave out the service
	base     string // beginning of the service's identifiers
}

// A group is the services of one protocol in one Go package. They are sorted by the name
// of their file, and are in the order of the file.
type group struct {
	Identity
	members []*member
	base    string // beginning of the protocol's identifiers
}

// owner returns the file whose code has the Protocol value. This is the first file by
// name, so that it does not depend on the order of a request.
func (g *group) owner() *protogen.File { return g.members[0].file }

// required returns the services that a plugin has to serve.
func (g *group) required() []*member {
	return slices.DeleteFunc(slices.Clone(g.members), func(m *member) bool { return m.optional })
}

// optional returns the services that a plugin may leave out.
func (g *group) optional() []*member {
	return slices.DeleteFunc(slices.Clone(g.members), func(m *member) bool { return !m.optional })
}

// lead returns the service that gives the protocol's identifiers their name: the only
// required service, or the only service. It returns nil if there are several.
func (g *group) lead() *member {
	if required := g.required(); len(required) == 1 {
		return required[0]
	}
	if len(g.members) == 1 {
		return g.members[0]
	}
	return nil
}

// together reports whether there are several required services and one handler can
// serve them: no two services have a method of the same name.
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

// A goPackage is the files of a request that belong to one Go package.
type goPackage struct {
	files   []*protogen.File // sorted by name; some may not be generated in this run
	groups  []*group
	scope   *scope
	imports map[string]bool // names under which the files import other packages
}

// goPackages returns the packages with at least one generated file.
func goPackages(plugin *protogen.Plugin) []*goPackage {
	type key struct{ importPath, dir string }
	byKey := make(map[key]*goPackage)
	generated := make(map[*goPackage]bool)
	var all []*goPackage
	for _, file := range plugin.Files {
		// With paths=source_relative, two directories are two packages even if their files
		// have the same go_package.
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

// group fills the protocols of a package, in the order of their first services.
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
				continue // LEFT_OUT
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

// checkRun returns an error if a run generates only some of the files with services of
// the protocol. The Protocol value would lack services, or would not be generated.
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
