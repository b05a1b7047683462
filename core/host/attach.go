package host

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/logs"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/secure"
)

// Attach connects to a plugin that runs already, started by hand or by another
// host. [WithProtocols] and [WithTransports] are required, as for [Launch], and all
// that the options demand of a plugin's security is demanded of this one; options
// that are about a process's start, its output or its input have no effect,
// [WithChecksum] is an error, and [WithMultiplex] is one for a plugin on go-plugin. The plugin's standard output and error stay where
// they are. Hooks of a [Trace] that tell of the start of a process and of its answer
// are not called. The context bounds the attaching only. An error is a [*StartError], and
// the plugin lives on then.
//
// The end of the plugin's process, or of the connection to it, ends the Plugin. How
// the process ended is not known, as it is no child of this one.
//
// A plugin that stays (AttachInfo.Stays, go-plugin's Test) is not this host's to
// stop: Close and Shutdown only close what is this host's, with calls in flight.
// Any other is stopped as a launched one, except that signals go to its process
// alone, and only if that is proven to be the plugin: on Linux, macOS and Windows by
// the time of its start, for go-plugin's form, which has none, by the number that
// the kernel tells of the other end of a unix socket. Otherwise it is asked to end,
// never sent a signal, and Close returns an [*ExitError] if it goes on.
//
// For plugins that [Launch] has started there is no AttachInfo: their lives are
// bound to that host's, by lifeline, parent-death signal or Job object, so that
// nobody could take them over from it.
func Attach(ctx context.Context, info handshake.AttachInfo, opts ...Option) (*Plugin, error) {
	l := &launch{started: time.Now(), phase: PhasePrepare}
	p, err := l.runAttach(ctx, info, opts)
	if err != nil {
		return nil, l.fail(err)
	}
	return p, nil
}

func (l *launch) runAttach(ctx context.Context, info handshake.AttachInfo, opts []Option) (_ *Plugin, err error) {
	l.describeAttached(info)
	if l.config, err = newConfig("", opts); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, l.startTimeout, &timeoutError{l.startTimeout})
	defer cancel()
	if err := because(ctx, nil); err != nil {
		return nil, err
	}
	return l.attach(ctx, info)
}

func (l *launch) describeAttached(info handshake.AttachInfo) {
	l.attaching = true
	l.command = logs.OneLine(fmt.Sprintf("at %s:%s", info.Transport.Name, info.Address))
	if info.Protocol != "" {
		l.command = logs.OneLine(info.Protocol) + " " + l.command
	}
}

var errAttachChecksum = errors.New("host.WithChecksum: this host cannot know what a plugin runs that it attaches to")

var errAttachMultiplex = errors.New("host.WithMultiplex: a plugin on go-plugin that runs already cannot be attached to in its multiplexed mode, which is asked for at its start: leave the option out")

// attach connects to the plugin. l has its configuration.
func (l *launch) attach(ctx context.Context, info handshake.AttachInfo) (_ *Plugin, err error) {
	l.describeAttached(info)
	if l.checksum != nil {
		return nil, errAttachChecksum
	}
	if l.multiplex && info.Foreign {
		return nil, errAttachMultiplex
	}
	if info.Version == 0 && len(l.family) == 1 {
		info.Version = l.family[0].Version() // go-plugin does not always say
	}
	l.uid = userOf(&exec.Cmd{})
	l.offer = &negotiation.Offer{
		Versions:   l.family.Versions(),
		Transports: l.transports.IDs(),
		Plugwire:   true,
		Protocol:   l.family.Name(),
		Sessions:   sessions(l.transports),
		Wires:      l.wires,
		Security:   l.security(),
	}
	answer, err := negotiation.AnswerOf(info).Check(l.offer)
	if err != nil {
		return nil, err
	}
	if answer.Security == handshake.SecurityMTLS {
		if l.identity, err = secure.ParseIdentity(info.HostCert, info.HostKey); err != nil {
			return nil, fmt.Errorf("what the host authenticates itself with (hostcert, hostkey): %w", err)
		}
	}
	a := newAttached(info)
	l.child = newChild(l.config, a, l.command, "")
	// From here on the end of the process ends every wait.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(l.child.gone, func() { cancel(context.Cause(l.child.gone)) })
	defer stop()
	p, err := l.ready(ctx, answer)
	if err != nil {
		return nil, err
	}
	if !a.take(l.peerPID, p.client.Lost()) && !a.stays {
		l.child.logger.Warn("nothing proves which process the attached plugin is: it can be asked to end, and will never be sent a signal")
	}
	return p, nil
}
