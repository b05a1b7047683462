package host

import (
	"errors"
	"os/exec"
	"path/filepath"

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
// plugin. It does not where the kernel vouches for both sides and the program's build
// information says that the plugin needs no certificate:
//
//   - A plugin of Plugwire never uses one on a unix socket. Its key and signature are most of
//     what a host does before it starts a process.
//   - On a socket that only its user can reach, the certificate does not protect a plugin on
//     go-plugin. It costs that plugin a P-521 key, and takes the broker from plugins before
//     v1.4.4.
func (l *launch) offersCertificate(cmd *exec.Cmd) bool {
	switch {
	case l.tls != nil || l.noCertificate:
		return false
	case l.mutualTLS || !secure.PeerCredSupported || l.transports.ByName("unix") == nil || !runsPath(l.runner) || !keepsCredentials(l.runner):
		return true
	}
	l.built = l.frameworksOf(cmd)
	switch {
	case l.built.OnlyPlugwire():
		return len(l.transports) > 1 // the plugin may take another one
	case l.built.OnlyGoPlugin():
		return !l.built.Release.UsesSocketDir() && !process.UmaskIsPrivate()
	default:
		return true
	}
}

// openProgram opens the program for reading. It fails if the program can be executed and not
// read; a program that does not exist makes the start fail too.
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
	if !ok || e.Code != handshake.CodeSecurity || l.tls != nil || l.offer.ClientCert != "" || !l.noCertificate && !l.built.GoPlugin {
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
