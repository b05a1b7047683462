package host

import (
	"debug/buildinfo"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/process"
	"github.com/plugwire/plugwire/core/internal/secure"
)

// WithoutCertificate starts the plugin without the one-time certificate that a host
// otherwise offers it. The plugin must then be one that the kernel vouches for,
// on a unix socket, or be accepted with [WithPlaintext]. WithMutualTLS contradicts it.
//
// It is for plugins of another framework to which the certificate does harm. Plugins
// on go-plugin before v1.4.4 cannot dial the broker with it ("certificate is valid for
// localhost, not unused"), and each plugin on go-plugin takes 15 to 30 ms longer to
// start. Where the program itself names its release of go-plugin, Launch finds that
// out: the option is for plugins that are started by a script or another program, or
// that were built without module information.
func WithoutCertificate() Option {
	return optionFunc(func(cfg *config) error {
		cfg.noCertificate = true
		return nil
	})
}

var errCertificateNone = errors.New("host.WithoutCertificate: on this system, or with this runner, only the certificate shows who the plugin is: leave the option out, or accept a plugin without TLS with host.WithPlaintext")

// offersCertificate reports whether the plugin is offered the one-time certificate.
// A plugin on go-plugin is not if nobody but its user can reach its socket: the
// certificate then protects from nobody, costs the plugin a P-521 key, and takes
// the broker from plugins before v1.4.4.
func (l *launch) offersCertificate(cmd *exec.Cmd) bool {
	switch {
	case l.tls != nil || l.noCertificate:
		return false
	case l.mutualTLS || !secure.PeerCredSupported || l.transports.ByName("unix") == nil || !runsPath(l.runner) || !keepsCredentials(l.runner):
		return true
	}
	release, ok := l.goPlugin(cmd)
	return !ok || !release.usesSocketDir() && !process.UmaskIsPrivate()
}

// goPlugin returns the release of go-plugin that the program is built with, if it
// says so.
func (l *launch) goPlugin(cmd *exec.Cmd) (goPluginRelease, bool) {
	program, err := l.openProgram(cmd)
	if err != nil {
		return goPluginRelease{}, false // starting it fails too, or it can be executed and not read
	}
	defer program.Close() //nolint:errcheck // opened for reading
	info, err := buildinfo.Read(&readBudget{program, maxBuildInfo})
	if err != nil {
		return goPluginRelease{}, false // it is not a Go program, or does not say
	}
	return goPluginIn(info)
}

func (l *launch) openProgram(cmd *exec.Cmd) (process.Program, error) {
	switch {
	case l.verified != nil:
		return l.verified.Open()
	case chroot(cmd) != "":
		return nil, errors.ErrUnsupported // the path is one below another root
	}
	path := cmd.Path
	if !filepath.IsAbs(path) && cmd.Dir != "" {
		path = filepath.Join(cmd.Dir, path) // as exec.Cmd documents it
	}
	return process.OpenProgram(path)
}

// explainSecurity adds what to do to the error of a plugin that would have needed the
// certificate.
func (l *launch) explainSecurity(err error) error {
	e, ok := errors.AsType[*handshake.Error](err)
	if !ok || e.Code != handshake.CodeSecurity || l.tls != nil || l.offer.ClientCert != "" {
		return err
	}
	explained := *e
	if l.noCertificate {
		explained.Hint = "the host offered no certificate, and the kernel vouches for a plugin on a unix socket only: leave host.WithoutCertificate out"
	} else {
		explained.Hint = "the host offered no certificate, as the program is built with go-plugin, whose plugins listen on unix sockets: offer one with host.WithMutualTLS"
	}
	if l.plaintext {
		return &explained
	}
	explained.Hint += ", or accept a plugin without TLS with host.WithPlaintext"
	return &explained
}

const (
	goPluginPath = "github.com/hashicorp/go-plugin"
	corePath     = "github.com/plugwire/plugwire/core"
)

// goPluginIn returns the release of go-plugin that is part of a build. A program with
// Plugwire in it may be a plugin of either.
func goPluginIn(info *debug.BuildInfo) (release goPluginRelease, ok bool) {
	for _, m := range append(info.Deps, &info.Main) {
		switch m.Path {
		case corePath:
			return goPluginRelease{}, false
		case goPluginPath:
			version := m.Version
			if m.Replace != nil && m.Replace.Version != "" {
				version = m.Replace.Version // a fork has the numbers of what it was made from
			}
			release, ok = parseGoPluginRelease(version)
		}
	}
	return release, ok
}

// goPluginRelease is a release of go-plugin by its numbers.
type goPluginRelease struct{ major, minor int }

// parseGoPluginRelease reads a module's version, v1.4.0 or v1.4.1-0.20210101000000-abcdefabcdef.
func parseGoPluginRelease(version string) (goPluginRelease, bool) {
	numbers := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(numbers) != 3 || !strings.HasPrefix(version, "v") {
		return goPluginRelease{}, false
	}
	major, err := strconv.Atoi(numbers[0])
	minor, minorErr := strconv.Atoi(numbers[1])
	return goPluginRelease{major, minor}, err == nil && minorErr == nil
}

// usesSocketDir reports whether plugins make their sockets in the directory that the
// host names, which is private. v1.5.0 is the first whose plugins do.
func (r goPluginRelease) usesSocketDir() bool {
	return r.major > 1 || r.major == 1 && r.minor >= 5
}

// maxBuildInfo bounds how much of a program, in bytes, is read for its build
// information. A Go program has it in a section of its own, so that some kilobytes
// are read. In any other program it is searched for in all of the data.
const maxBuildInfo = 4 << 20

// readBudget reads until it has read so many bytes.
type readBudget struct {
	r    io.ReaderAt
	left int
}

var errReadBudget = errors.New("too much would have to be read")

// ReadAt implements [io.ReaderAt].
func (b *readBudget) ReadAt(p []byte, off int64) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errReadBudget
	}
	return b.r.ReadAt(p, off)
}
