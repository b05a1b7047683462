package generate

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// moduleOf returns the path of the module of an absolute directory, and the
// slash-separated directory relative to the module. Without a module both are empty.
func moduleOf(dir string) (module, below string, err error) {
	for at := dir; ; at = filepath.Dir(at) {
		switch content, err := os.ReadFile(filepath.Join(at, "go.mod")); { //nolint:gosec // the user's module
		case err == nil:
			below, err := filepath.Rel(at, dir)
			if module = modulePath(string(content)); module == "" && err == nil {
				err = errors.New(filepath.Join(at, "go.mod") + ": has no module line")
			}
			return module, filepath.ToSlash(below), err
		case !errors.Is(err, fs.ErrNotExist):
			return "", "", err
		case at == filepath.Dir(at):
			return "", "", nil
		}
	}
}

// modulePath returns the module path in a go.mod, or an empty path if it has none.
func modulePath(goMod string) string {
	inBlock := false
	for line := range strings.Lines(goMod) {
		line, _, _ = strings.Cut(line, "//")
		words := strings.Fields(line)
		switch {
		case len(words) == 2 && words[0] == "module" && words[1] == "(":
			inBlock = true
		case len(words) == 2 && words[0] == "module":
			return unquote(words[1])
		case len(words) == 1 && inBlock:
			return unquote(words[0])
		}
	}
	return ""
}

func unquote(word string) string {
	if text, err := strconv.Unquote(word); err == nil {
		return text
	}
	return word
}
