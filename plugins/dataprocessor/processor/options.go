package processor

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rivo/uniseg"
	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// A step changes a text as one option says.
type step struct {
	option string
	apply  func(string) string
}

// The options, named as in the request.
const (
	optTrim      = "trim"
	optUppercase = "uppercase"
	optLowercase = "lowercase"
	optReverse   = "reverse"
	optSHA256    = "sha256"
)

// knownSteps returns every option in the order of application.
func knownSteps() []step {
	return []step{
		// Store a copy, because a part of a long text would keep the whole text
		// in memory.
		{optTrim, func(s string) string { return strings.Clone(strings.TrimSpace(s)) }},
		// A Caser has state, so each text gets its own.
		{optUppercase, func(s string) string { return cases.Upper(language.Und).String(s) }},
		{optLowercase, func(s string) string { return cases.Lower(language.Und).String(s) }},
		{optReverse, uniseg.ReverseString},
		{optSHA256, func(s string) string {
			sum := sha256.Sum256([]byte(s))
			return hex.EncodeToString(sum[:])
		}},
	}
}

// parseOptions returns the steps that options ask for, in the order of
// application, or an INVALID_ARGUMENT status for the first wrong option, by
// name. It quotes at most 64 characters of the caller's text.
func parseOptions(options map[string]string) ([]step, error) {
	known := knownSteps()
	for _, name := range slices.Sorted(maps.Keys(options)) {
		field := fmt.Sprintf("options[%.64q]", name)
		if !slices.ContainsFunc(known, func(s step) bool { return s.option == name }) {
			return nil, invalid(field, fmt.Sprintf("unknown option %.64q: the options are %s", name, names(known)))
		}
		if value := options[name]; value != "true" && value != "false" {
			return nil, invalid(field, fmt.Sprintf("option %s has the value %.64q: want true or false", name, value))
		}
	}
	if options[optUppercase] == "true" && options[optLowercase] == "true" {
		return nil, invalid("options", "options uppercase and lowercase exclude each other")
	}
	return slices.DeleteFunc(known, func(s step) bool { return options[s.option] != "true" }), nil
}

func names(steps []step) string {
	names := make([]string, len(steps))
	for i, s := range steps {
		names[i] = s.option
	}
	return strings.Join(names, ", ")
}
