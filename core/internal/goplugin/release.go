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

// ReleaseOf returns the release of go-plugin in a program. It reports false for a program
// that is not built with go-plugin or has no module information. It reports false for a
// program that also contains Plugwire, because that may be a plugin of either.
func ReleaseOf(program io.ReaderAt) (Release, bool) {
	info, err := buildinfo.Read(&readBudget{program, maxBuildInfo})
	if err != nil {
		return Release{}, false
	}
	return releaseIn(info)
}

func releaseIn(info *debug.BuildInfo) (release Release, ok bool) {
	for _, m := range append(info.Deps, &info.Main) {
		switch m.Path {
		case corePath:
			return Release{}, false
		case goPluginPath:
			version := m.Version
			if m.Replace != nil && m.Replace.Version != "" {
				version = m.Replace.Version // a fork keeps the numbers of its origin
			}
			release, ok = parseRelease(version)
		}
	}
	return release, ok
}

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
