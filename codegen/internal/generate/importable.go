package generate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// reserved are names that Windows does not allow for files. The go command refuses them
// on every system.
var reserved = []string{
	"con", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
	"prn", "aux", "nul", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
}

// shortName matches the end of a short file name of Windows. The go command refuses
// these names too.
var shortName = regexp.MustCompile(`~[0-9]+$`)

// isWord matches an ASCII letter or digit.
var isWord = regexp.MustCompile(`^[A-Za-z0-9]$`)

// unimportable returns the reason why the go command refuses an import path or a part
// of one. It returns an empty text if the go command accepts the path.
func unimportable(importPath string) string {
	for element := range strings.SplitSeq(importPath, "/") {
		bad := strings.IndexFunc(element, func(r rune) bool {
			return !strings.ContainsRune("-._~+", r) && (r >= 0x80 || !isWord.MatchString(string(r)))
		})
		short, _, _ := strings.Cut(element, ".")
		switch {
		case bad >= 0:
			return fmt.Sprintf("%q has a character that is not valid in an import path", element)
		case element == "" || strings.HasSuffix(element, "."):
			return fmt.Sprintf("%q ends with a dot or is empty", element)
		case slices.Contains(reserved, strings.ToLower(short)):
			return fmt.Sprintf("%q is a reserved name on Windows", element)
		case shortName.MatchString(short):
			return fmt.Sprintf("%q looks like a short name of Windows", element)
		}
	}
	return ""
}
