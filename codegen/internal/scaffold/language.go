package scaffold

import "strings"

// A Language is what a plugin is written in.
type Language string

// The languages of plugins.
const (
	Go     Language = "go"
	Python Language = "python" // on grpcio
	Node   Language = "node"   // JavaScript for Node.js, on @grpc/grpc-js
)

// Languages are all languages in which Write writes a plugin.
var Languages = []Language{Go, Python, Node}

// languageList returns the languages as text.
func languageList() string {
	names := make([]string, len(Languages))
	for i, lang := range Languages {
		names[i] = string(lang)
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}
