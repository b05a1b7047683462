package host

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/control"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/session"
	"github.com/plugwire/plugwire/core/transport"
)

// ready connects to the plugin and returns the handle on it.
func (l *launch) ready(ctx context.Context, answer *negotiation.Answer) (*Plugin, error) {
	l.phase = PhaseConnect
	ends, err := l.connect(ctx, answer)
	l.trace.connected(err)
	if err != nil {
		if ctx.Err() == nil {
			l.child.exitsAfterLoss() // a process that ends says more than its socket
		}
		return nil, err
	}
	if answer.Ready || l.attaching && answer.Plugwire {
		l.phase = PhaseReady
		if err := l.awaitReady(ctx, ends); err != nil {
			return nil, err
		}
	}
	p := l.plugin(answer, ends)
	if skipped := p.info.Skipped; skipped != "" {
		l.child.logger.Warn("a transport that the host prefers was not taken", "transport", answer.Transport.String(), "skipped", skipped)
	}
	l.shown.Ready(boardInfo(p.info))
	l.trace.ready(p.info)
	if l.private != nil {
		l.private.Sweep() // in the background, and not before the start is over
	}
	go p.supervise()
	return p, nil
}

// ends are a host's ends of its session with a plugin.
type ends struct {
	client calls.Client
	server calls.Server // nil if the host serves nothing
}

// close ends both at once.
func (e ends) close() {
	e.client.Close()
	if e.server != nil {
		e.server.Close()
	}
}

// connect dials the plugin, and authenticates both sides.
func (l *launch) connect(ctx context.Context, answer *negotiation.Answer) (ends, error) {
	if err := l.openSession(ctx, answer); err != nil {
		return ends{}, fmt.Errorf("%s: %w", answer.Transport, because(ctx, err))
	}
	e, err := l.open(ctx, answer)
	if err != nil {
		return ends{}, errors.Join(fmt.Errorf("%s: %w", answer.Transport, because(ctx, err)), l.session.Close())
	}
	return e, nil
}

func (l *launch) openSession(ctx context.Context, answer *negotiation.Answer) error {
	var err error
	if l.creds, err = l.credentials(answer); err != nil {
		return err
	}
	t, dial, err := l.dialed(ctx, answer)
	if err != nil {
		return err
	}
	if answer.Plugwire && !slices.Contains(session.Kinds(t), answer.Session) {
		return &handshake.Error{Code: handshake.CodeSession, Reason: fmt.Sprintf("the plugin answered with session %q, which this transport does not have", answer.Session)}
	}
	l.trace.dial(transport.ID{Name: t.Name(), Version: dial.Version}, dial.Address)
	cfg := session.Config{
		Kind:        answer.Session,
		Transport:   t,
		Dial:        dial,
		Conn:        l.prepared.take(t.Name()),
		Credentials: l.creds.WithALPN(rpc.ALPN(answer.Wire)),
		Foreign:     !answer.Plugwire,
		Identity:    l.identify(answer),
	}
	if cfg.Foreign && cfg.Kind == handshake.SessionYamux {
		l.session, err = l.dialMultiplexed(ctx, cfg)
	} else {
		l.session, err = session.Dial(ctx, cfg)
	}
	return err
}

// identify returns the identity of the session: of a launched plugin it is the instance of
// the offer, which the plugin knows too.
func (l *launch) identify(answer *negotiation.Answer) string {
	switch {
	case answer.Preamble < session.PreambleVersion:
		return ""
	case l.attaching:
		return rand.Text()
	default:
		return l.offer.Instance
	}
}

// open opens the streams that carry calls.
func (l *launch) open(ctx context.Context, answer *negotiation.Answer) (e ends, err error) {
	client := calls.ClientConfig{
		Side:           "host",
		Other:          l.other(),
		Target:         l.name,
		MaxMessageSize: l.maxMessageSize,
		Buffered:       l.limits.Buffered,
		Unary:          l.unary,
		Stream:         l.stream,
		Stats:          l.clientStats,
		Meter:          l.shown.Meter(),
		DialOptions:    l.dialOptions,
		IsControl:      control.IsControl,
		Stalled:        l.child.whyStopped,
		Logger:         l.logger,
	}
	if !answer.Plugwire {
		client.Renewal = &calls.Renewal{Gone: l.goneByItself, Ending: l.child.isEnding}
	}
	var server *calls.ServerConfig
	// An attached plugin cannot know at start-up whether this host has services, so always
	// serve it.
	if (len(l.bindings) > 0 || l.attaching) && answer.Plugwire {
		server = &calls.ServerConfig{
			Side:           "host",
			Other:          l.other(),
			MaxMessageSize: l.maxMessageSize,
			Limits:         l.limits,
			Application:    l.services.Register,
			RequiresServer: l.services.RequiresServer(),
			IsControl:      control.IsControl,
			Stats:          l.serverStats,
			Unary:          l.unaryServer,
			Stream:         l.streamServer,
			Logger:         l.logger,
			OnPanic:        l.logPanic,
		}
	}
	e.client, e.server, err = rpc.Connect(ctx, answer.Wire, l.openStream, client, server)
	return e, err
}

// goneByItself returns what is closed when a foreign plugin's process ends; nil if this
// host cannot know that.
func (l *launch) goneByItself() <-chan struct{} {
	if a, attached := l.child.Process.(*attachedProcess); attached && !a.isProven(l.peerPID) {
		return nil
	}
	return l.child.exited
}

// openStream is a [calls.Opener]. A process that is not the plugin's must not take its
// place: the server of a foreign plugin may end its connection, and another is dialed then.
func (l *launch) openStream(ctx context.Context, purpose session.Purpose) (*session.Stream, error) {
	stream, err := l.session.Open(ctx, session.Preamble{Purpose: purpose})
	if err != nil || !l.attaching || purpose != session.Calls {
		return stream, err
	}
	pid := secure.PeerPID(stream.Conn)
	switch {
	case !l.reached:
		l.reached, l.peerPID = true, pid
	case l.peerPID != 0 && pid != l.peerPID:
		return nil, errors.Join(fmt.Errorf("process %d listens there, and the plugin was process %d", pid, l.peerPID), stream.Close())
	}
	return stream, nil
}

func (l *launch) logPanic(ctx context.Context, method string, value any, stack []byte) {
	l.child.logger.ErrorContext(ctx, "panic in a handler of the host", "method", method, "panic", fmt.Sprint(value), "stack", string(stack))
}

// other is what the peers of this plugin call it in errors.
func (l *launch) other() string { return "plugin " + l.name }

func (l *launch) credentials(answer *negotiation.Answer) (*secure.Credentials, error) {
	switch answer.Security {
	case handshake.SecurityPeerCred:
		if l.program.user.other {
			// Such a plugin can name, or put a link to, a socket of root's that only
			// this user can reach.
			return secure.PeerCredExactly(l.uid), nil
		}
		return secure.PeerCred(l.uid), nil
	case handshake.SecurityMTLS:
		return secure.MutualTLS(l.identity, answer.Cert), nil
	case handshake.SecurityTLS:
		return secure.OwnTLS(handshake.SecurityTLS, l.tls), nil
	case handshake.SecurityNone:
		return secure.Plaintext(), nil
	default:
		return nil, fmt.Errorf("security %q is not known here", answer.Security)
	}
}

func (l *launch) plugin(answer *negotiation.Answer, e ends) *Plugin {
	var skipped []string
	if l.unprepared != nil {
		skipped = append(skipped, l.unprepared.Error())
	}
	if answer.Skipped != "" {
		skipped = append(skipped, answer.Skipped)
	}
	pid, _ := strconv.Atoi(l.child.ID()) // 0 where the runner's processes have no number
	p := &Plugin{
		config:   l.config,
		child:    l.child,
		session:  l.session,
		ends:     e,
		protocol: l.spoken(answer),
		foreign:  !answer.Plugwire,
		done:     make(chan struct{}),
		info: Info{
			Protocol:      l.protocolName(answer),
			Version:       answer.Version,
			Transport:     answer.Transport,
			Session:       answer.Session,
			Wire:          answer.Wire,
			Security:      answer.Security,
			Skipped:       strings.Join(skipped, "; "),
			PID:           pid,
			StartDuration: time.Since(l.started),
		},
		goplugin: l.newGoPlugin(answer, e.client.Plain()),
	}
	p.stuck.never.Store(p.foreign)
	return p
}
