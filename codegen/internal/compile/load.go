package compile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/ast"
	"github.com/bufbuild/protocompile/parser"
	"github.com/bufbuild/protocompile/reporter"
)

// standard resolves the files that are part of protobuf.
var standard = protocompile.WithStandardImports(protocompile.ResolverFunc(func(string) (protocompile.SearchResult, error) {
	return protocompile.SearchResult{}, fs.ErrNotExist
}))

// IsStandard reports whether protobuf has a file of that name.
func IsStandard(name string) bool {
	_, err := standard.FindFileByPath(name)
	return err == nil
}

// A node is a file in a graph.
type node struct {
	name        string
	tree        *ast.FileNode // nil for a file of protobuf, and for an unreadable file
	pkg         string
	hasServices bool
	imports     []importNode
	symbols     []symbol
	mistakes    Mistakes
	err         error // why the file is unreadable
}

// An importNode is an import statement.
type importNode struct {
	name string
	at   ast.SourcePos
}

// imported reports whether the file imports a file of that name.
func (n *node) imported(name string) bool {
	return slices.ContainsFunc(n.imports, func(i importNode) bool { return i.name == name })
}

// A graph holds files and all their imports.
type graph struct {
	source   Source
	nodes    map[string]*node
	bad      map[string]bool // files with mistakes
	spoiled  map[string]bool // cache of isBad; nil after a new mistake
	mistakes Mistakes
	warnings Mistakes
}

// load parses the named files and all their imports. An import of a missing file is a
// mistake.
func load(ctx context.Context, source Source, names []string) (*graph, error) {
	g := &graph{source: source, nodes: make(map[string]*node), bad: make(map[string]bool)}
	for next := names; len(next) > 0; {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var wave []*node
		for _, name := range next {
			if g.nodes[name] == nil {
				g.nodes[name] = &node{name: name}
				wave = append(wave, g.nodes[name])
			}
		}
		source.parseAll(wave)
		next = nil
		for _, n := range wave {
			for _, i := range n.imports {
				next = append(next, i.name)
			}
		}
	}
	for _, name := range names {
		if n := g.nodes[name]; n.err != nil {
			g.add(Mistake{File: name, Text: n.err.Error()})
		}
	}
	for _, n := range g.nodes {
		for _, m := range n.mistakes {
			g.add(m)
		}
		for _, i := range n.imports {
			if err := g.nodes[i.name].err; err != nil {
				g.add(missing(n.name, i, err))
			}
		}
	}
	return g, nil
}

// parseAll parses files, one on each processor.
func (s Source) parseAll(files []*node) {
	todo := make(chan *node)
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(files)) {
		workers.Go(func() {
			for n := range todo {
				s.parse(n)
			}
		})
	}
	for _, n := range files {
		todo <- n
	}
	close(todo)
	workers.Wait()
}

// parse reads and parses a file.
func (s Source) parse(n *node) {
	content, err := s.read(n.name)
	if err != nil {
		if _, standardErr := standard.FindFileByPath(n.name); standardErr != nil {
			n.err = err
		}
		return
	}
	if line, column, ok := invalid(string(content)); ok {
		n.mistakes = append(n.mistakes, Mistake{File: n.name, Line: line, Column: column, Text: "not UTF-8: save the file as UTF-8"})
	}
	handler := reporter.NewHandler(reporter.NewReporter(func(err reporter.ErrorWithPos) error {
		n.mistakes = append(n.mistakes, mistakeOf(err))
		return nil // continue, to report all mistakes
	}, nil)) // the compiler repeats the warnings
	tree, err := parser.Parse(n.name, bytes.NewReader(content), handler)
	if tree == nil {
		n.err = err
		return
	}
	n.tree = tree
	for _, decl := range tree.Decls {
		switch d := decl.(type) {
		case *ast.PackageNode:
			if d.Name != nil {
				n.pkg = string(d.Name.AsIdentifier())
			}
		case *ast.ServiceNode:
			n.hasServices = true
		case *ast.ImportNode:
			n.imports = append(n.imports, importNode{d.Name.AsString(), tree.NodeInfo(d.Name).Start()})
		}
	}
	n.symbols = symbolsOf(tree)
}

// missing returns the mistake for an import of an unreadable file.
func missing(file string, i importNode, err error) Mistake {
	m := Mistake{File: file, Line: i.at.Line, Column: i.at.Col, Text: fmt.Sprintf("import %q: %v", i.name, err)}
	if errors.Is(err, fs.ErrNotExist) {
		m.Text, m.Missing = fmt.Sprintf("import %q: not found", i.name), i.name
	}
	return m
}

// FindFileByPath implements [protocompile.Resolver] with the files of the graph.
func (g *graph) FindFileByPath(name string) (protocompile.SearchResult, error) {
	if n := g.nodes[name]; n != nil && n.tree != nil {
		return protocompile.SearchResult{AST: n.tree}, nil
	}
	return standard.FindFileByPath(name)
}

// add adds a mistake.
func (g *graph) add(m Mistake) {
	g.mistakes = append(g.mistakes, m)
	g.bad[m.File] = true
	g.spoiled = nil
}

// isBad reports whether a file has a mistake, or imports a file with a mistake.
func (g *graph) isBad(name string) bool {
	if g.spoiled == nil {
		g.spoiled = make(map[string]bool)
		importers := make(map[string][]string)
		for _, n := range g.nodes {
			for _, i := range n.imports {
				importers[i.name] = append(importers[i.name], n.name)
			}
		}
		var spoil func(name string)
		spoil = func(name string) {
			if g.spoiled[name] {
				return
			}
			g.spoiled[name] = true
			for _, importer := range importers[name] {
				spoil(importer)
			}
		}
		for name := range g.bad {
			spoil(name)
		}
	}
	return g.spoiled[name]
}

// invalid returns the place of the first byte that is not UTF-8. Line and column count
// from 1. The parser accepts such bytes in comments, but the Go compiler does not.
func invalid(text string) (line, column int, ok bool) {
	if utf8.ValidString(text) {
		return 0, 0, false
	}
	line, column = 1, 1
	for at, r := range text {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(text[at:]); size == 1 {
				return line, column, true
			}
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	return 0, 0, false
}
