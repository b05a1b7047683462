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
	// maxSeen is how many files and directories are looked at for a file that is
	// imported and not found: a fraction of a second on a disk.
	maxSeen = 50_000

	// maxNear is how many directories above the root are searched as well.
	maxNear = 2
)

// hint adds to the mistakes that are imports of a missing file where there is a
// file of that name, and what would find it.
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

// remedy says what would find a missing file.
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
		return fmt.Sprintf("there is %s: import it as %q, or use -root %s", fromHere(at), name, fromHere(dir))
	case importerIsBelow:
		return fmt.Sprintf("there is %s: use -root %s", fromHere(at), fromHere(dir))
	default:
		return fmt.Sprintf("there is %s: use -I %s", fromHere(at), fromHere(dir))
	}
}

// nearest returns the file with that name that has most directories in common with
// the importer. It returns an empty path if there is none.
func nearest(near []string, importer, name string) string {
	at := ""
	for _, file := range near {
		isIt := strings.HasSuffix(filepath.ToSlash(file), "/"+name)
		if isIt && (at == "" || common(file, importer) > common(at, importer)) {
			at = file
		}
	}
	return at
}

// otherName says what would find a missing file that is imported by a name which no
// directory gives it: relative to the importer, with backslashes, or with the path of
// its Go module.
func (o Options) otherName(m compile.Mistake, importer string, near []string) string {
	name := strings.ReplaceAll(m.Missing, `\`, "/")
	clean := path.Join("/", name)[1:] // without ./ and ../
	for _, candidate := range []string{filepath.Join(filepath.Dir(importer), filepath.FromSlash(name)), filepath.Join(o.Root, filepath.FromSlash(clean))} {
		if asRoot, isBelow := below(absolute(o.Root), absolute(candidate)); isBelow && o.exists(asRoot) {
			return fmt.Sprintf("there is %s: import it as %q", fromHere(absolute(candidate)), asRoot)
		}
	}
	module, _, err := moduleOf(filepath.Dir(importer))
	if rest, ok := strings.CutPrefix(name, module+"/"); err == nil && module != "" && ok {
		if at := nearest(near, importer, rest); at != "" {
			return fmt.Sprintf("there is %s: it has that name if the module lies in a directory %s, and -root is the directory that has all of these", fromHere(at), module)
		}
	}
	return "no file of that name is near: give the directory that has it with -I"
}

// common returns how many directories two paths have in common.
func common(a, b string) int {
	one, other := strings.Split(filepath.ToSlash(a), "/"), strings.Split(filepath.ToSlash(b), "/")
	n := 0
	for n < len(one) && n < len(other) && one[n] == other[n] {
		n++
	}
	return n
}

// absolute returns an absolute path, or the path as it is if there is none.
func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}

// fromHere returns an absolute path as one that is relative to the working
// directory.
func fromHere(path string) string {
	here := absolute(".")
	if short, err := filepath.Rel(here, path); err == nil {
		return short
	}
	return path
}

// below returns the slash-separated name of what lies in a directory.
func below(dir, path string) (string, bool) {
	name, err := filepath.Rel(dir, path)
	return filepath.ToSlash(name), err == nil && filepath.IsLocal(name)
}

// nearFiles returns the absolute paths of .proto files below the root, and then
// of those in near directories, the nearest first. It stops after maxSeen.
func (o Options) nearFiles() []string {
	var found []string
	left := maxSeen
	searched := ""
	dir := absolute(o.Root)
	for range maxNear + 1 {
		_ = filepath.WalkDir(dir, func(at string, entry fs.DirEntry, err error) error { // what cannot be read has no hints
			if left--; left < 0 {
				return filepath.SkipAll
			}
			switch {
			case err != nil && entry != nil && entry.IsDir():
				return filepath.SkipDir
			case err != nil:
				return nil //nolint:nilerr // a hint is not worth an error
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
