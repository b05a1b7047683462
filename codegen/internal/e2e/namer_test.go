package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// nameWords are the parts of names: words that the generators add to names, and others.
var nameWords = []string{
	"item", "order", "line", "a", "b", "x", "2", "get", "name", "value", "default", "is", "e",
	"handler", "server", "client", "service", "serve", "protocol", "adaptor", "new", "register", "unsafe", "unimplemented",
	"reset", "string", "proto", "message", "reflect", "descriptor", "build", "which", "has", "set", "clear", "case",
}

// A namer makes .proto files of one Go package. Their names are likely to clash.
type namer struct {
	*rand.Rand
	strings.Builder
	declared int
	joins    int // the greatest number of words in a name after the first
	syntax   string
	messages []string // the messages that methods can use
}

// word returns a word in one of its spellings.
func (r *namer) word(words []string) string {
	word := words[r.IntN(len(words))]
	switch r.IntN(5) {
	case 0:
		return word
	case 1:
		return strings.ToUpper(word)
	default:
		return strings.ToUpper(word[:1]) + word[1:]
	}
}

// name returns a name that is not in used, and adds it to used.
func (r *namer) name(used *[]string, words []string) string {
	for {
		name := r.word(words)
		for range r.IntN(r.joins + 1) {
			name += []string{"", "", "_", "__"}[r.IntN(4)] + r.word(words) //nolint:perfsprint // a few times
		}
		switch r.IntN(12) {
		case 0:
			name = "_" + name
		case 1:
			name += "_"
		}
		if name[0] >= '0' && name[0] <= '9' || slices.Contains(*used, name) || slices.Contains(reserved, name) {
			continue
		}
		*used = append(*used, name)
		r.declared++
		return name
	}
}

// reserved are words with another meaning in the grammar where a name is possible.
var reserved = []string{"message", "service", "default", "reserved", "option", "optional", "string"}

// tree returns files of one directory.
func (r *namer) tree(dir string) tree {
	files := make(tree)
	var names []string
	words := make([]string, 3+r.IntN(4)) // few words, so that names clash often
	r.joins = 1 + r.IntN(2)
	for i := range words {
		words[i] = nameWords[r.IntN(len(nameWords))]
	}
	var top []string
	var others []string
	for range 1 + r.IntN(3) {
		r.Reset()
		r.syntax = []string{`syntax = "proto2"`, `syntax = "proto3"`, `edition = "2023"`}[r.IntN(3)]
		fmt.Fprintf(r, "%s;\npackage %s.words;\n", r.syntax, dir)
		for _, other := range others {
			fmt.Fprintf(r, "import %q;\n", other)
		}
		if r.syntax == `edition = "2023"` {
			r.WriteString("import \"google/protobuf/go_features.proto\";\n")
			fmt.Fprintf(r, "option features.(pb.go).api_level = %s;\n", []string{"API_OPEN", "API_HYBRID", "API_OPAQUE"}[r.IntN(3)])
		}
		fmt.Fprintf(r, "option go_package = \"%s%s\";\n", prefix, dir)
		for range 1 + r.IntN(4) {
			name := r.name(&top, words)
			r.messages = append(r.messages, name)
			r.message(name, words, 0)
		}
		for range r.IntN(2) {
			r.enum(&top, words)
		}
		if r.syntax == `syntax = "proto2"` {
			fmt.Fprintf(r, "extend %s {\n  optional int32 %s = %d;\n}\n", r.messages[len(r.messages)-1], r.name(&top, words), 1000+r.IntN(1<<20))
		}
		for range r.IntN(3) {
			r.service(&top, words)
		}
		name := dir + "/" + strings.ReplaceAll(r.name(&names, words), "__", []string{"-", "_", "__"}[r.IntN(3)]) + ".proto"
		files[name] = r.String()
		others = append(others, name)
	}
	return files
}

func (r *namer) message(name string, words []string, depth int) {
	in := strings.Repeat("  ", depth)
	fmt.Fprintf(r, "%smessage %s {\n", in, name)
	var used []string
	number := 0
	field := func(in, label string) {
		number++
		kind := []string{"int32", "string", "bytes", "bool"}[r.IntN(4)]
		value := ""
		if r.syntax == `syntax = "proto2"` && kind == "string" && r.IntN(2) == 0 {
			value = " [default = \"x\"]"
		}
		fmt.Fprintf(r, "%s  %s%s %s = %d%s;\n", in, label, kind, r.name(&used, words), number, value)
	}
	label := map[string][]string{
		`syntax = "proto2"`: {"optional ", "required "}, `syntax = "proto3"`: {"", "optional "}, `edition = "2023"`: {""},
	}[r.syntax]
	for range r.IntN(4) {
		field(in, label[r.IntN(len(label))])
	}
	for range r.IntN(3) {
		fmt.Fprintf(r, "%s  oneof %s {\n", in, r.name(&used, words))
		for range 1 + r.IntN(3) {
			field(in+"  ", "")
		}
		fmt.Fprintf(r, "%s  }\n", in)
	}
	if r.IntN(3) == 0 {
		number++
		fmt.Fprintf(r, "%s  map<string, int32> %s = %d;\n", in, r.name(&used, words), number)
	}
	if depth < 2 {
		for range r.IntN(2) {
			r.message(r.name(&used, words), words, depth+1)
		}
		for range r.IntN(2) {
			r.enum(&used, words)
		}
	}
	if r.syntax == `syntax = "proto2"` {
		fmt.Fprintf(r, "%s  extensions 1000 to max;\n", in)
	}
	fmt.Fprintf(r, "%s}\n", in)
}

func (r *namer) enum(used *[]string, words []string) {
	fmt.Fprintf(r, "enum %s {\n", r.name(used, words))
	for i := range 1 + r.IntN(3) {
		fmt.Fprintf(r, "  %s = %d;\n", r.name(used, words), i)
	}
	r.WriteString("}\n")
}

func (r *namer) service(used *[]string, words []string) {
	fmt.Fprintf(r, "service %s {\n", r.name(used, words))
	var methods []string
	for range r.IntN(4) {
		message := func() string {
			return []string{"", "stream "}[r.IntN(2)] + "." + r.packageName() + r.messages[r.IntN(len(r.messages))]
		}
		fmt.Fprintf(r, "  rpc %s(%s) returns (%s);\n", r.name(&methods, words), message(), message())
	}
	r.WriteString("}\n")
}

// packageName returns the package of the present file and a dot.
func (r *namer) packageName() string {
	_, rest, _ := strings.Cut(r.String(), "package ")
	name, _, _ := strings.Cut(rest, ";")
	return name + "."
}
