package glue

import (
	"fmt"

	"google.golang.org/protobuf/compiler/protogen"
)

// cycles returns an error for each import that makes Go packages import each other. The
// files themselves need not: a.proto of one package may import b.proto of another
// package, which imports c.proto of the first.
func cycles(plugin *protogen.Plugin) Errors {
	type edge struct {
		to   protogen.GoImportPath
		file *protogen.File
		at   int32 // index of the import in file
	}
	edges := make(map[protogen.GoImportPath][]edge)
	var order []protogen.GoImportPath
	for _, file := range plugin.Files {
		if _, ok := edges[file.GoImportPath]; !ok {
			edges[file.GoImportPath] = nil
			order = append(order, file.GoImportPath)
		}
		list := file.Desc.Imports()
		for i := range list.Len() {
			imported := plugin.FilesByPath[list.Get(i).Path()]
			if imported != nil && imported.GoImportPath != file.GoImportPath {
				edges[file.GoImportPath] = append(edges[file.GoImportPath], edge{imported.GoImportPath, file, int32(i)})
			}
		}
	}
	const (
		open = iota + 1 // on the path from the start of the search
		done            // completely searched
	)
	var mistakes Errors
	state := make(map[protogen.GoImportPath]int)
	var visit func(from protogen.GoImportPath)
	visit = func(from protogen.GoImportPath) {
		state[from] = open
		for _, e := range edges[from] {
			switch {
			case state[e.to] == 0:
				visit(e.to)
			case state[e.to] == open && e.file.Generate:
				mistakes = append(mistakes, &Error{
					Place:  placeAt(e.file.Desc, dependency, e.at),
					before: fmt.Sprintf("this import makes the Go packages %s and %s import each other, which Go does not allow: use one go_package for both, or move the common parts to a third package", from, e.to),
				})
			}
		}
		state[from] = done
	}
	for _, p := range order {
		if state[p] == 0 {
			visit(p)
		}
	}
	return mistakes
}
