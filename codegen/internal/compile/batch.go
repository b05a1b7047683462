package compile

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile/ast"
)

// A symbol is a name, or the number of an extension. A registry has each symbol once.
type symbol struct {
	name      string
	at        ast.SourcePos
	isPackage bool // several files may declare the same package
}

// symbolsOf returns the symbols of a file that another file could also declare. It
// ignores declarations inside messages.
func symbolsOf(tree *ast.FileNode) []symbol {
	var found []symbol
	prefix := ""
	for _, decl := range tree.Decls {
		if p, ok := decl.(*ast.PackageNode); ok && p.Name != nil {
			name := string(p.Name.AsIdentifier())
			prefix = name + "."
			at := tree.NodeInfo(p.Name).Start()
			for end := range strings.SplitSeq(name, ".") {
				outer := ""
				if len(found) > 0 {
					outer = found[len(found)-1].name + "."
				}
				found = append(found, symbol{outer + end, at, true})
			}
		}
	}
	add := func(name *ast.IdentNode) {
		if name != nil {
			found = append(found, symbol{prefix + name.Val, tree.NodeInfo(name).Start(), false})
		}
	}
	for _, decl := range tree.Decls {
		switch d := decl.(type) {
		case *ast.MessageNode:
			add(d.Name)
		case *ast.ServiceNode:
			add(d.Name)
		case *ast.EnumNode:
			add(d.Name)
			for _, element := range d.Decls {
				if v, ok := element.(*ast.EnumValueNode); ok {
					add(v.Name)
				}
			}
		case *ast.ExtendNode:
			for _, element := range d.Decls {
				f, ok := element.(*ast.FieldNode)
				if !ok || f.Tag == nil || d.Extendee == nil {
					continue
				}
				add(f.Name)
				extendee := strings.TrimPrefix(string(d.Extendee.AsIdentifier()), ".")
				found = append(found, symbol{fmt.Sprintf("extension %d of %s", f.Tag.Val, extendee), tree.NodeInfo(f.Tag).Start(), false})
			}
		}
	}
	return found
}

// An owner is a symbol with the file that declares it.
type owner struct {
	file string
	symbol
}

// A registry holds the symbols of several files.
type registry struct {
	files map[string]bool
	names map[string]owner
}

// conflict returns a symbol of a file that another file of the registry declares too.
func (r registry) conflict(n *node) (own symbol, other owner, ok bool) {
	for _, s := range n.symbols {
		if o, exists := r.names[s.name]; exists && o.file != n.name && (!s.isPackage || !o.isPackage) {
			return s, o, true
		}
	}
	return symbol{}, owner{}, false
}

func (r registry) add(n *node) {
	r.files[n.name] = true
	for _, s := range n.symbols {
		if _, ok := r.names[s.name]; !ok {
			r.names[s.name] = owner{n.name, s}
		}
	}
}

// batches splits the named files without mistakes into batches. No two files of a
// batch declare the same symbol.
//
// The files of a directory are one Go package, so they stay together. A conflict among
// them and their imports is a mistake. A conflict between two directories is a
// warning, because no program can link the Go code of both.
func (g *graph) batches(names []string) [][]string {
	dirs := make(map[string][]string)
	var order []string
	for _, name := range slices.Sorted(slices.Values(names)) {
		dir := path.Dir(name)
		if dirs[dir] == nil {
			order = append(order, dir)
		}
		dirs[dir] = append(dirs[dir], name)
	}
	var batches [][]string
	var registries []registry
	for _, dir := range order {
		unit := g.unit(dirs[dir])
		if len(unit) == 0 {
			continue
		}
		at := slices.IndexFunc(registries, func(r registry) bool {
			return !slices.ContainsFunc(unit, func(n *node) bool {
				if r.files[n.name] {
					return false
				}
				own, other, ok := r.conflict(n)
				if ok {
					g.warnings = append(g.warnings, Mistake{File: n.name, Line: own.at.Line, Column: own.at.Col, Text: fmt.Sprintf(
						"warning: %s is also declared at %s:%d:%d: no program can link the Go code of both: use another package in one of them",
						own.name, g.source.Path(other.file), other.at.Line, other.at.Col)})
				}
				return ok
			})
		})
		if at < 0 {
			at = len(registries)
			registries = append(registries, registry{make(map[string]bool), make(map[string]owner)})
			batches = append(batches, nil)
		}
		for _, n := range unit {
			if !registries[at].files[n.name] {
				registries[at].add(n)
			}
		}
		for _, name := range dirs[dir] {
			if !g.isBad(name) {
				batches[at] = append(batches[at], name)
			}
		}
	}
	return batches
}

// unit returns the named files without mistakes, and their imports. If two of these
// files declare the same symbol, unit adds a mistake.
func (g *graph) unit(names []string) []*node {
	for {
		all := registry{make(map[string]bool), make(map[string]owner)}
		var unit []*node
		isGood := true
		var add func(name string)
		add = func(name string) {
			n := g.nodes[name]
			if all.files[name] || g.isBad(name) {
				return
			}
			all.files[name] = true
			for _, i := range n.imports {
				add(i.name)
			}
			if own, other, ok := all.conflict(n); ok {
				isGood = false
				g.add(Mistake{File: name, Line: own.at.Line, Column: own.at.Col, Text: fmt.Sprintf(
					"%s is also declared at %s:%d:%d", own.name, g.source.Path(other.file), other.at.Line, other.at.Col)})
				return
			}
			all.add(n)
			unit = append(unit, n)
		}
		for _, name := range names {
			add(name)
		}
		if isGood {
			return unit
		}
	}
}
