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
// otherwise offers. The plugin must then have peer credentials, on a unix socket, or
// the host must accept it with [WithPlaintext]. The option contradicts WithMutualTLS.
//
// It is for plugins of another framework that the certificate harms. Plugins on
// go-plugin before v1.4.4 cannot dial the broker with it ("certificate is valid for
// localhost, not unused"). Each plugin on go-plugin takes 15 to 30 ms longer to start.
// If the program names its release of go-plugin, Launch decides by itself. The option
// is for plugins that a script or another program starts, and for those built without
// module information.
func WithoutCertificate() Option {
	return optionFunc(func(cfg *config) error {
		cfg.noCertificate = true
		return nil
	})
}

var errCertificateNone = errors.New("host.WithoutCertificate: on this system, or with this runner, only the certificate authenticates the plugin: leave the option out, or accept a plugin without TLS with host.WithPlaintext")

// offersCertificate reports whether the host offers the one-time certificate to the
// plugin. It does not to a plugin on go-plugin whose socket only its user can reach.
// There the certificate protects nothing, costs the plugin a P-521 key, and takes the
// broker from plugins before v1.4.4.
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

// goPlugin returns the release of go-plugin that the program is built with, if the
// program names it.
func (l *launch) goPlugin(cmd *exec.Cmd) (goPluginRelease, bool) {
	program, err := l.openProgram(cmd)
	if err != nil {
		return goPluginRelease{}, false // the start fails too, or the program can be executed and not read
	}
	defer program.Close() //nolint:errcheck // opened for reading
	info, err := buildinfo.Read(&readBudget{program, maxBuildInfo})
	if err != nil {
		return goPluginRelease{}, false // not a Go program, or one without module information
	}
	return goPluginIn(info)
}

func (l *launch) openProgram(cmd *exec.Cmd) (process.Program, error) {
	switch {
	case l.verified != nil:
		return l.verified.Open()
	case chroot(cmd) != "":
		return nil, errors.ErrUnsupported // the path is below another root
	}
	path := cmd.Path
	if !filepath.IsAbs(path) && cmd.Dir != "" {
		path = filepath.Join(cmd.Dir, path) // as exec.Cmd documents it
	}
	return process.OpenProgram(path)
}

// explainSecurity adds to an error what to do about a plugin that needs the
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

// goPluginIn returns the release of go-plugin that is part of a build. A program that
// also contains Plugwire may be a plugin of either.
func goPluginIn(info *debug.BuildInfo) (release goPluginRelease, ok bool) {
	for _, m := range append(info.Deps, &info.Main) {
		switch m.Path {
		case corePath:
			return goPluginRelease{}, false
		case goPluginPath:
			version := m.Version
			if m.Replace != nil && m.Replace.Version != "" {
				version = m.Replace.Version // a fork keeps the numbers of its origin
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

// usesSocketDir reports whether plugins make their sockets in the private directory
// that the host names. v1.5.0 is the first release that does.
func (r goPluginRelease) usesSocketDir() bool {
	return r.major > 1 || r.major == 1 && r.minor >= 5
}

// maxBuildInfo bounds how many bytes of a program are read for its build information. A
// Go program has it in a section of its own, so some kilobytes are enough. In any other
// program the reader searches all of the data.
const maxBuildInfo = 4 << 20

// readBudget is a reader of at most so many bytes.
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
