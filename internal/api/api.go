// Package api lists what the released modules export, and compares the list with the
// committed one in the directory api: what a release has promised must not change by
// accident.
package api

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// dir is the directory of the committed lists, one for each module.
const dir = "api"

// A Change is what differs between the committed list of a module and its code.
type Change struct {
	Module string // its directory
	// Removed are lines of the list that the code no longer has: a name that is gone, or
	// the old form of one that has changed. A program that uses the name may not compile
	// any more.
	Removed []string
	// Added are lines that the list lacks. No program can depend on them yet.
	Added []string
}

// Check compares the committed lists with the code of the repository at root.
func Check(root string) ([]Change, error) {
	current, err := list(root)
	if err != nil {
		return nil, err
	}
	var changes []Change
	for module, lines := range current {
		committed, err := read(root, module)
		if err != nil {
			return nil, err
		}
		if c := compare(module, committed, lines); len(c.Removed)+len(c.Added) > 0 {
			changes = append(changes, c)
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Module, b.Module) })
	return changes, nil
}

// ErrIncompatible is why Update does not write a list.
var ErrIncompatible = errors.New("an incompatible change of what users compile against")

// Update writes the lists. Without accept it writes only additions: if the code lacks
// lines of a list, the error is an [ErrIncompatible] that has them, and nothing is
// written.
func Update(root string, accept bool) error {
	changes, err := Check(root)
	if err != nil {
		return err
	}
	if err := incompatible(changes); err != nil && !accept {
		return err
	}
	for _, c := range changes {
		committed, err := read(root, c.Module)
		if err != nil {
			return err
		}
		lines := slices.DeleteFunc(committed, func(line string) bool { return slices.Contains(c.Removed, line) })
		if err := write(root, c.Module, append(lines, c.Added...)); err != nil {
			return err
		}
	}
	return nil
}

// Explain returns an error that says what has changed and what to do; nil if nothing has.
func Explain(changes []Change) error {
	if err := incompatible(changes); err != nil {
		return err
	}
	var b strings.Builder
	for _, c := range changes {
		for _, line := range c.Added {
			fmt.Fprintf(&b, "\n\t%s", line)
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return fmt.Errorf("the lists in the directory %s lack what is new. Is all of it meant for users? Then run: go tool mage api%s", dir, b.String())
}

// incompatible returns an error with all lines that are removed; nil if there are none.
func incompatible(changes []Change) error {
	var b strings.Builder
	for _, c := range changes {
		for _, line := range c.Removed {
			fmt.Fprintf(&b, "\n\t%s", line)
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return fmt.Errorf("%w: the code no longer has these lines of the lists in the directory %s. "+
		"Keep the old form, beside a new one if need be. To accept the change, run: go tool mage api -accept, and describe it in CHANGELOG.md%s",
		ErrIncompatible, dir, b.String())
}

func compare(module string, committed, current []string) Change {
	return Change{Module: module, Removed: without(committed, current), Added: without(current, committed)}
}

// without returns the lines of a that b lacks.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(line string) bool { return slices.Contains(b, line) })
}

// file returns the path of a module's list.
func file(root, module string) string {
	return filepath.Join(root, dir, filepath.FromSlash(module)+".txt")
}

// read returns the lines of a module's list; none if there is no list.
func read(root, module string) ([]string, error) {
	data, err := os.ReadFile(file(root, module))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	return strings.FieldsFunc(string(data), func(r rune) bool { return r == '\n' }), nil
}

func write(root, module string, lines []string) error {
	name := file(root, module)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	slices.Sort(lines)
	return os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}
