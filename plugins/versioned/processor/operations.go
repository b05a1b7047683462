package processor

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/plugwire/plugwire/plugins/versioned/example"
	"github.com/plugwire/plugwire/plugins/versioned/internal/violation"
)

// A step is a checked operation.
type step struct {
	field string // name of the field in the request
	// apply returns the new text, or false if that is longer than maxText.
	apply func(text string) (result string, fits bool)
}

// parse returns the steps that operations describe, in their order, and adds
// their violations to wrong.
func parse(operations []*example.Operation, wrong *violation.List) []step {
	if n := len(operations); n > maxOperations {
		wrong.Add("operations", excess(n, maxOperations, "operation"))
		return nil
	}
	steps := make([]step, len(operations))
	for i, operation := range operations {
		s := step{field: fmt.Sprintf("operations[%d]", i)}
		switch kind := operation.GetKind().(type) {
		case *example.Operation_Trim:
			s.apply = within(strings.TrimSpace)
		case *example.Operation_CollapseSpace:
			s.apply = within(collapseSpace)
		case *example.Operation_ChangeCase:
			s.apply = changeCase(kind.ChangeCase, s.field+".change_case", wrong)
		case *example.Operation_SortLines:
			s.apply = within(sortLines(kind.SortLines))
		case *example.Operation_Replace:
			s.apply = replace(kind.Replace, s.field+".replace", wrong)
		default:
			wrong.Add(s.field, "is of no kind that this plugin knows")
		}
		steps[i] = s
	}
	return steps
}

// within applies the limit to the result of transform. It is for functions that
// at most double a text.
func within(transform func(string) string) func(string) (string, bool) {
	return func(text string) (string, bool) {
		text = transform(text)
		return text, len(text) <= maxText
	}
}

func collapseSpace(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	inSpace := false
	for _, r := range text {
		space := unicode.IsSpace(r)
		switch {
		case !space:
			b.WriteRune(r)
		case !inSpace:
			b.WriteByte(' ')
		}
		inSpace = space
	}
	return b.String()
}

func changeCase(c *example.ChangeCase, field string, wrong *violation.List) func(string) (string, bool) {
	switch to := c.GetTo(); to {
	case example.LetterCase_LETTER_CASE_UPPER:
		return within(strings.ToUpper)
	case example.LetterCase_LETTER_CASE_LOWER:
		return within(strings.ToLower)
	default:
		wrong.Add(field+".to", fmt.Sprintf("has the value %s: want LETTER_CASE_UPPER or LETTER_CASE_LOWER", to))
		return nil
	}
}

func sortLines(s *example.SortLines) func(string) string {
	return func(text string) string {
		text, ended := strings.CutSuffix(text, "\n")
		lines := strings.Split(text, "\n")
		slices.Sort(lines)
		if s.GetUnique() {
			lines = slices.Compact(lines)
		}
		if s.GetDescending() {
			slices.Reverse(lines)
		}
		text = strings.Join(lines, "\n")
		if ended {
			text += "\n"
		}
		return text
	}
}

func replace(r *example.Replace, field string, wrong *violation.List) func(string) (string, bool) {
	was, becomes := r.GetOld(), r.GetNew()
	if was == "" {
		wrong.Add(field+".old", "must not be empty")
		return nil
	}
	return func(text string) (string, bool) {
		// Check the length before making the text: two short texts can ask for
		// terabytes.
		n := int64(strings.Count(text, was))
		if int64(len(text))+n*int64(len(becomes)-len(was)) > maxText {
			return "", false
		}
		return strings.ReplaceAll(text, was, becomes), true
	}
}
