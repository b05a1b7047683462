// Package compat serves older versions of the protocol by its newest one: each
// type translates requests, responses and errors, and does not know the
// operations themselves. Start with [NewV1].
package compat

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/versioned/example"
	"github.com/plugwire/plugwire/plugins/versioned/internal/violation"
)

// V1 serves example.DataProcessorV1 by a handler of version 2. Its methods are
// safe for concurrent use, as those of that handler are.
type V1 struct {
	next example.DataProcessorV2Handler
}

var _ example.DataProcessorV1Handler = (*V1)(nil)

// NewV1 returns a handler of version 1 that passes everything on to next.
func NewV1(next example.DataProcessorV2Handler) *V1 { return &V1{next: next} }

// Process translates the call to version 2, and the result to version 1.
func (v *V1) Process(ctx context.Context, request *example.ProcessRequestV1) (*example.ProcessResponseV1, error) {
	names, err := selected(request.GetOptions())
	if err != nil {
		return nil, err
	}
	response, err := v.next.Process(ctx, &example.ProcessRequestV2{
		Text:       request.GetData(),
		Operations: operations(names),
	})
	if err != nil {
		return nil, translate(err, names)
	}
	return &example.ProcessResponseV1{
		Result:         response.GetText(),
		ProcessingTime: response.GetElapsed().AsDuration().Seconds(),
	}, nil
}

// An option is an option of version 1, with its operation of version 2.
type option struct {
	name      string
	operation *example.Operation
}

// options returns all options of version 1, in the order in which it applies
// them.
func options() []option {
	changeCase := func(to example.LetterCase) *example.Operation {
		return &example.Operation{Kind: &example.Operation_ChangeCase{ChangeCase: &example.ChangeCase{To: to}}}
	}
	return []option{
		{"trim", &example.Operation{Kind: &example.Operation_Trim{Trim: &example.Trim{}}}},
		{"collapse", &example.Operation{Kind: &example.Operation_CollapseSpace{CollapseSpace: &example.CollapseSpace{}}}},
		{"uppercase", changeCase(example.LetterCase_LETTER_CASE_UPPER)},
		{"lowercase", changeCase(example.LetterCase_LETTER_CASE_LOWER)},
		{"sort", &example.Operation{Kind: &example.Operation_SortLines{SortLines: &example.SortLines{}}}},
	}
}

// selected returns the options whose value is "true", in the order of
// application, or an INVALID_ARGUMENT status for options that version 2 cannot
// express.
func selected(values map[string]string) ([]option, error) {
	known := options()
	var wrong violation.List
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch value := values[name]; {
		case !slices.ContainsFunc(known, func(o option) bool { return o.name == name }):
			wrong.Add(field(name), "is unknown: the options are "+list(known))
		case value != "true" && value != "false":
			wrong.Add(field(name), "has the value "+violation.Quote(value)+": want true or false")
		}
	}
	if err := wrong.Err(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(known, func(o option) bool { return values[o.name] != "true" }), nil
}

func operations(selected []option) []*example.Operation {
	operations := make([]*example.Operation, len(selected))
	for i, o := range selected {
		operations[i] = o.operation
	}
	return operations
}

// translate returns err with the field names of version 1. The request has one
// operation for each option in selected.
func translate(err error, selected []option) error {
	s := status.Convert(err)
	var wrong violation.List
	for _, v := range violation.Of(s) {
		wrong.Add(fieldV1(v.GetField(), selected), v.GetDescription())
	}
	if err := wrong.Err(); err != nil {
		return err
	}
	return s.Err()
}

// fieldV1 returns the field of version 1 that became the field of version 2.
func fieldV1(name string, selected []option) string {
	if name == "text" {
		return "data"
	}
	for i, o := range selected {
		operation := "operations[" + strconv.Itoa(i) + "]"
		if name == operation || strings.HasPrefix(name, operation+".") {
			return field(o.name)
		}
	}
	return name // version 1 does not have this field, and so cannot set it
}

// field returns the name of an option in a violation.
func field(option string) string { return "options[" + violation.Quote(option) + "]" }

func list(options []option) string {
	names := make([]string, len(options))
	for i, o := range options {
		names[i] = o.name
	}
	return strings.Join(names, ", ")
}
