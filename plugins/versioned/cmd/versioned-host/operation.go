package main

import (
	"fmt"
	"strings"

	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/versioned/example"
)

// An operation is an operation of version 2 that -do names. Version 1 has some
// of them, under the same names.
type operation struct {
	name    string
	message *example.Operation
}

const replaceName = "replace"

// simple returns the operations that have no parameters on the command line.
func simple() []operation {
	changeCase := func(to example.LetterCase) *example.Operation {
		return &example.Operation{Kind: &example.Operation_ChangeCase{ChangeCase: &example.ChangeCase{To: to}}}
	}
	sortLines := func(s *example.SortLines) *example.Operation {
		return &example.Operation{Kind: &example.Operation_SortLines{SortLines: s}}
	}
	return []operation{
		{"trim", &example.Operation{Kind: &example.Operation_Trim{Trim: &example.Trim{}}}},
		{"collapse", &example.Operation{Kind: &example.Operation_CollapseSpace{CollapseSpace: &example.CollapseSpace{}}}},
		{"uppercase", changeCase(example.LetterCase_LETTER_CASE_UPPER)},
		{"lowercase", changeCase(example.LetterCase_LETTER_CASE_LOWER)},
		{"sort", sortLines(&example.SortLines{})},
		{"sort-down", sortLines(&example.SortLines{Descending: true})},
		{"sort-unique", sortLines(&example.SortLines{Unique: true})},
	}
}

// parseOperation returns the operation that the user wrote: a name, or
// replace=OLD=NEW.
func parseOperation(s string) (operation, error) {
	var names []string
	for _, o := range simple() {
		if o.name == s {
			return o, nil
		}
		names = append(names, o.name)
	}
	name, parameters, _ := strings.Cut(s, "=")
	if name != replaceName {
		return operation{}, fmt.Errorf("unknown operation %q: the operations are %s and %s=OLD=NEW", s, strings.Join(names, ", "), replaceName)
	}
	was, becomes, ok := strings.Cut(parameters, "=")
	if !ok || was == "" {
		return operation{}, fmt.Errorf("want %s=OLD=NEW", replaceName)
	}
	if err := hostcli.CheckText(parameters); err != nil {
		return operation{}, err
	}
	return operation{replaceName, &example.Operation{Kind: &example.Operation_Replace{Replace: &example.Replace{Old: was, New: becomes}}}}, nil
}
