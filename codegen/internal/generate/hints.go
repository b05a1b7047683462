package generate

import (
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/plugwire/plugwire/codegen/internal/compile"
)

const (
	// maxSeen is how many files and directories the search for a missing import visits.
	// That takes a fraction of a second.
	maxSeen = 50_000

	// maxNear is how many directories above the root the search includes.
	maxNear = 2
)

// hint adds a remedy to each mistake that is an import of a missing file.
func (o Options) hint(mistakes compile.Mistakes) compile.Mistakes {
	if !slices.ContainsFunc(mistakes, func(m compile.Mistake) bool { return m.Missing != "" }) {
		return mistakes
	}
	near := o.nearFiles()
	for i, m := range mistakes {
		if m.Missing != "" {
			mistakes[i].Text += "; " + o.remedy(m, near)
		}
	}
	return mistakes
}

// remedy says which flag or import statement would find a missing file.
func (o Options) remedy(m compile.Mistake, near []string) string {
	importer, err := filepath.Abs(o.locate(m.File))
	if err != nil {
		return err.Error()
	}
	at := nearest(near, importer, m.Missing)
	if at == "" {
		return o.otherName(m, importer, near)
	}
	dir := filepath.FromSlash(strings.TrimSuffix(filepath.ToSlash(at), "/"+m.Missing))
	_, importerIsBelow := below(dir, importer)
	name, isBelowRoot := below(absolute(o.Root), at)
	switch {
	case importerIsBelow && isBelowRoot:
		return fmt.Sprintf("%s exists: import it as %q, or use -root %s", fromHere(at), name, fromHere(dir))
	case importerIsBelow:
		return fmt.Sprintf("%s exists: use -root %s", fromHere(at), fromHere(dir))
	default:
		return fmt.Sprintf("%s exists: use -I %s", fromHere(at), fromHere(dir))
	}
}

// nearest returns the path that ends with the name and shares most directories with the
// importer. It returns an empty path if none ends with the name.
func nearest(near []string, importer, name string) string {
	at := ""
	for _, file := range near {
		hasName := strings.HasSuffix(filepath.ToSlash(file), "/"+name)
		if hasName && (at == "" || common(file, importer) > common(at, importer)) {
			at = file
		}
	}
	return at
}

// otherName is remedy for an import statement that works with no root. Its name is
// relative to the importer, has backslashes, or has the path of the Go module.
func (o Options) otherName(m compile.Mistake, importer string, near []string) string {
	name := strings.ReplaceAll(m.Missing, `\`, "/")
	clean := path.Join("/", name)[1:] // without ./ and ../
	for _, candidate := range []string{filepath.Join(filepath.Dir(importer), filepath.FromSlash(name)), filepath.Join(o.Root, filepath.FromSlash(clean))} {
		if asRoot, isBelow := below(absolute(o.Root), absolute(candidate)); isBelow && o.exists(asRoot) {
			return fmt.Sprintf("%s exists: import it as %q", fromHere(absolute(candidate)), asRoot)
		}
	}
	module, _, err := moduleOf(filepath.Dir(importer))
	if rest, ok := strings.CutPrefix(name, module+"/"); err == nil && module != "" && ok {
		if at := nearest(near, importer, rest); at != "" {
			return fmt.Sprintf("%s exists: move the module to a directory %s and set -root to the directory above, so that the file has this name", fromHere(at), module)
		}
	}
	return "no such file nearby: use -I with its directory"
}

// common returns the number of leading directories that two paths share.
func common(a, b string) int {
	one, other := strings.Split(filepath.ToSlash(a), "/"), strings.Split(filepath.ToSlash(b), "/")
	n := 0
	for n < len(one) && n < len(other) && one[n] == other[n] {
		n++
	}
	return n
}

// absolute returns the absolute path, or the unchanged path if the working directory is
// not available.
func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}

// fromHere returns an absolute path relative to the working directory.
func fromHere(path string) string {
	here := absolute(".")
	if short, err := filepath.Rel(here, path); err == nil {
		return short
	}
	return path
}

// below returns the slash-separated name of path relative to dir, and whether path is
// dir or below it.
func below(dir, path string) (string, bool) {
	name, err := filepath.Rel(dir, path)
	return filepath.ToSlash(name), err == nil && filepath.IsLocal(name)
}

// nearFiles returns the absolute paths of .proto files below the root, and then of
// files below the directories above it, the nearest first. It visits at most maxSeen
// files and directories.
func (o Options) nearFiles() []string {
	var found []string
	left := maxSeen
	searched := ""
	dir := absolute(o.Root)
	for range maxNear + 1 {
		_ = filepath.WalkDir(dir, func(at string, entry fs.DirEntry, err error) error { // the function returns no error
			if left--; left < 0 {
				return filepath.SkipAll
			}
			switch {
			case err != nil && entry != nil && entry.IsDir():
				return filepath.SkipDir
			case err != nil:
				return nil //nolint:nilerr // without this file the hint may be worse, but is not wrong
			case entry.IsDir() && (at == searched || entry.Name() == ".git" || entry.Name() == "node_modules"):
				return filepath.SkipDir
			case !entry.IsDir() && filepath.Ext(at) == ".proto":
				found = append(found, at)
			}
			return nil
		})
		searched = dir
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return found
}
