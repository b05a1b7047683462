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

// Attach connects to a plugin that runs already. A person has started it to debug it
// (PLUGWIRE_DEBUG), or another host has. The context bounds the attaching only. An
// error is a [*StartError], and the plugin lives on.
//
// [WithProtocols] and [WithTransports] are required, as for [Launch]. Attach demands
// the same security of the plugin as Launch. Options about a process's start, its
// output or its input have no effect. [WithChecksum] is an error, and so is
// [WithMultiplex] for a plugin on go-plugin. The plugin's standard output and error
// stay where they are. The hooks of a [Trace] for the start of a process and for its
// answer are not called.
//
// The Plugin ends when the plugin's process ends, or the connection to it. How the
// process ended is not known, because only its parent learns that.
//
// A plugin that stays (AttachInfo.Stays, go-plugin's Test) is not this host's to stop:
// Close and Shutdown only close this host's connections, with calls in flight. Any
// other plugin is stopped like a plugin that this host has launched, with a difference:
// signals go only to its process, and only if that process is certainly the plugin. The
// time of the process's start proves that. go-plugin's form has no such time: there the
// number that the kernel names for the other end of a unix socket proves it. Without a
// proof the plugin is asked to end and never sent a signal, and Close returns an
// [*ExitError] if the plugin goes on.
//
// Plugins that [Launch] has started cannot be attached to: their lives are bound to
// that host's by a lifeline, the parent-death signal or a Job object.
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
	l.showStatus(ctx)
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

var errAttachChecksum = errors.New("host.WithChecksum: this host cannot know which program a plugin that runs already is")

var errAttachMultiplex = errors.New("host.WithMultiplex: a plugin on go-plugin that runs already cannot change to its multiplexed mode, which a host asks for at the start: leave the option out")

// attach connects to the plugin. The caller has set the configuration of l.
func (l *launch) attach(ctx context.Context, info handshake.AttachInfo) (_ *Plugin, err error) {
	l.describeAttached(info)
	if l.checksum != nil {
		return nil, errAttachChecksum
	}
	if l.multiplex && info.Foreign {
		return nil, errAttachMultiplex
	}
	if info.Version == 0 && (len(l.family) == 1 || l.anyProtocol) {
		info.Version = l.family[len(l.family)-1].Version() // go-plugin does not always name it
	}
	l.uid = userOf(&exec.Cmd{})
	l.offer = &negotiation.Offer{
		Versions:   l.family.Versions(),
		Transports: l.transports.IDs(),
		Plugwire:   true,
		Protocol:   l.offeredProtocol(),
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
			return nil, fmt.Errorf("the certificate and key of the host (hostcert, hostkey): %w", err)
		}
	}
	a := newAttached(info)
	l.child = newChild(l.config, a, l.command, "")
	// From here on, every wait ends when the process ends.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(l.child.gone, func() { cancel(context.Cause(l.child.gone)) })
	defer stop()
	p, err := l.ready(ctx, answer)
	if err != nil {
		return nil, err
	}
	if !a.take(l.peerPID, p.client.Lost()) && !a.stays {
		l.child.logger.Warn("nothing proves which process the attached plugin is: the host can ask it to end, and never sends it a signal")
	}
	l.shown.Started(l.child.localProcessID())
	return p, nil
}
