package goplugin

import (
	"debug/buildinfo"
	"errors"
	"io"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	goPluginPath = "github.com/hashicorp/go-plugin"
	corePath     = "github.com/plugwire/plugwire/core"
)

// Release is a release of go-plugin by its numbers.
type Release struct{ major, minor int }

// Frameworks are those that a program is built with. A program with both may be a plugin of
// either.
type Frameworks struct {
	Plugwire bool
	GoPlugin bool
	Release  Release // of go-plugin, if it is known
	known    bool
}

// FrameworksOf reads the frameworks of a program from its build information. A program
// without that has none.
func FrameworksOf(program io.ReaderAt) Frameworks {
	info, err := buildinfo.Read(&readBudget{program, maxBuildInfo})
	if err != nil {
		return Frameworks{}
	}
	return frameworksIn(info)
}

func frameworksIn(info *debug.BuildInfo) (f Frameworks) {
	for _, m := range append(info.Deps, &info.Main) {
		switch m.Path {
		case corePath:
			f.Plugwire = true
		case goPluginPath:
			version := m.Version
			if m.Replace != nil && m.Replace.Version != "" {
				version = m.Replace.Version // a fork keeps the numbers of its origin
			}
			f.GoPlugin = true
			f.Release, f.known = parseRelease(version)
		}
	}
	return f
}

// OnlyGoPlugin reports whether the program is a plugin of go-plugin, if it is one, and whose
// release is known.
func (f Frameworks) OnlyGoPlugin() bool {
	return f.GoPlugin && !f.Plugwire && f.known
}

// OnlyPlugwire reports whether the program is a plugin of Plugwire, if it is one.
func (f Frameworks) OnlyPlugwire() bool { return f.Plugwire && !f.GoPlugin }

// parseRelease reads a module's version, v1.4.0 or v1.4.1-0.20210101000000-abcdefabcdef.
func parseRelease(version string) (Release, bool) {
	numbers := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(numbers) != 3 || !strings.HasPrefix(version, "v") {
		return Release{}, false
	}
	major, err := strconv.Atoi(numbers[0])
	minor, minorErr := strconv.Atoi(numbers[1])
	return Release{major, minor}, err == nil && minorErr == nil
}

// UsesSocketDir reports whether plugins make their sockets in the private directory that
// the host names. v1.5.0 is the first release that does.
func (r Release) UsesSocketDir() bool {
	return r.major > 1 || r.major == 1 && r.minor >= 5
}

// maxBuildInfo bounds how many bytes of a program are read for its build information. A Go
// program has it in a section of its own, so some kilobytes are enough. In any other program
// the reader searches all of the data.
const maxBuildInfo = 4 << 20

// readBudget is a reader of a limited number of bytes.
type readBudget struct {
	r    io.ReaderAt
	left int
}

var errReadBudget = errors.New("too much of the program would have to be read")

// ReadAt implements [io.ReaderAt].
func (b *readBudget) ReadAt(p []byte, off int64) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errReadBudget
	}
	return b.r.ReadAt(p, off)
}
