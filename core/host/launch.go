package host

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/control"
	"github.com/plugwire/plugwire/core/internal/logs"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/privdir"
	"github.com/plugwire/plugwire/core/internal/process"
	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/session"
	"github.com/plugwire/plugwire/core/transport"
)

// launch is one start of one plugin.
type launch struct {
	*config
	started  time.Time
	phase    Phase
	command  string
	identity *secure.Identity
	offer    *negotiation.Offer
	prepared prepared
	verified *process.Copy // nil without a checksum; the child's once there is one
	private  *privdir.Dir  // nil where there is none; the child's once there is one
	child    *child        // nil until the process is started
	creds    *secure.Credentials
	session  *session.Session // nil until it is opened

	attaching bool // the process was there before
	peerPID   int  // the process that the kernel names as the other end; 0 if none

	unprepared error // why transports were not offered; nil if all were
	uid        int   // the user as whom the plugin runs
	program    program
}

// timeoutError is the cause when the start took longer than the option allows.
type timeoutError struct{ limit time.Duration }

func (e *timeoutError) Error() string {
	return fmt.Sprintf("it was not ready within %v (host.WithStartTimeout)", e.limit)
}

// Is makes it a context.DeadlineExceeded.
func (e *timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// Timeout makes it a net.Error's kind.
func (e *timeoutError) Timeout() bool { return true }

// because returns why ctx ended, if it did, and err otherwise.
func because(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	err = context.Cause(ctx)
	if err == context.Canceled || err == context.DeadlineExceeded { //nolint:errorlint // exactly these: nothing else says whose context it was
		return fmt.Errorf("the context of the start ended: %w", err)
	}
	return err
}

func (l *launch) run(ctx context.Context, template *exec.Cmd, opts []Option) (*Plugin, error) {
	l.command = describe(template)
	var err error
	if l.config, err = newConfig(programName(template), opts); err != nil {
		return nil, err
	}
	ctx, cancelTimeout := context.WithTimeoutCause(ctx, l.startTimeout, &timeoutError{l.startTimeout})
	defer cancelTimeout()
	if err := because(ctx, nil); err != nil {
		return nil, err
	}
	if info, err := l.running(); err != nil {
		return nil, err
	} else if info != nil {
		return l.attach(ctx, *info)
	}
	cmd, err := fromTemplate(template, l.cookie.Name)
	if err != nil {
		return nil, err
	}
	defer func() {
		l.prepared.close()
		if l.child == nil {
			release(l.logger, l.private, l.verified)
		}
	}()
	l.program = programOf(cmd)
	if err := l.prepare(ctx, cmd); err != nil {
		return nil, err
	}
	if err := l.verify(ctx, cmd); err != nil {
		return nil, err
	}
	if err := l.start(ctx, cmd); err != nil {
		return nil, err
	}
	// From here on the end of the process ends every wait.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(l.child.gone, func() { cancel(context.Cause(l.child.gone)) })
	defer stop()

	l.phase = PhaseHandshake
	if l.private != nil {
		l.private.Look() // while the process starts
	}
	answer, err := l.awaitAnswer(ctx)
	if err != nil {
		return nil, err
	}
	return l.ready(ctx, answer)
}

// ready connects to the plugin and returns the handle on it.
func (l *launch) ready(ctx context.Context, answer *negotiation.Answer) (*Plugin, error) {
	l.phase = PhaseConnect
	peer, err := l.connect(ctx, answer)
	l.trace.connected(err)
	if err != nil {
		if ctx.Err() == nil {
			l.child.exitsWithin(exitAfterLoss) // a process that ends says more than its socket
		}
		return nil, err
	}
	if answer.Ready || l.attaching && answer.Plugwire {
		l.phase = PhaseReady
		if err := l.awaitReady(ctx, peer); err != nil {
			return nil, err
		}
	}
	p := l.plugin(answer, peer)
	if skipped := p.info.Skipped; skipped != "" {
		l.child.logger.Warn("a transport that the host prefers was not taken", "transport", answer.Transport.String(), "skipped", skipped)
	}
	l.trace.ready(p.info)
	if l.private != nil {
		l.private.Sweep() // in the background, and not before the start is over
	}
	go p.supervise()
	return p, nil
}

// start prepares what the process needs and starts it.
func (l *launch) start(ctx context.Context, cmd *exec.Cmd) (err error) {
	l.uid = userOf(cmd)
	if l.stdin != nil {
		cmd.Stdin = l.stdin
	}
	l.offer = &negotiation.Offer{
		Cookie:     l.cookie,
		Versions:   l.family.Versions(),
		MinPort:    l.minPort,
		MaxPort:    l.maxPort,
		Transports: l.transports.IDs(),
		Plugwire:   true,
		Callbacks:  len(l.bindings) > 0,
		Protocol:   l.family.Name(),
		Sessions:   sessions(l.transports),
		Wires:      []string{handshake.WireH2},
		Security:   l.security(),
		Instance:   rand.Text(),
		LogLevel:   logs.LevelName(logs.Lowest(l.logger)),
		Files:      make(map[string][]int),
		Identities: make(map[int]negotiation.FileID),
	}
	if l.multiplex {
		l.offer.Multiplex = "true"
	}
	if err := l.newIdentity(cmd); err != nil {
		return err
	}
	if l.private != nil {
		l.offer.SocketDir = l.private.Path()
	}
	var ours *bond
	if passesFiles(l.runner) && process.LifelineSupported {
		if ours, err = l.bind(cmd); err != nil {
			return err
		}
		defer ours.closeTheirs()
	}
	for name, p := range l.prepared {
		for _, f := range p.Files {
			l.offer.Files[name] = append(l.offer.Files[name], l.inherit(cmd, f))
		}
	}
	cmd.Env = append(cmd.Env, l.offer.Environ()...)
	l.phase = PhaseStart
	l.child, err = startChild(ctx, l.config, cmd, l.offer.Instance, l.private, ours, l.verified)
	return errors.Join(err, l.prepared.closeFiles())
}

// newIdentity makes the one-time certificate and offers it, if the plugin is to have
// one.
func (l *launch) newIdentity(cmd *exec.Cmd) (err error) {
	if !l.offersCertificate(cmd) {
		return nil
	}
	if l.identity, err = secure.NewIdentity(); err != nil {
		return err
	}
	l.offer.ClientCert = l.identity.PEM()
	return nil
}

// sessions returns the kinds of session that the transports can have, the best
// first.
func sessions(transports transport.Set) []string {
	var kinds []string
	for _, kind := range []string{handshake.SessionDirect, handshake.SessionYamux, handshake.SessionNative} {
		if slices.ContainsFunc(transports, func(t transport.Transport) bool { return slices.Contains(session.Kinds(t), kind) }) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// awaitAnswer waits for the answer and checks it against the offer.
func (l *launch) awaitAnswer(ctx context.Context) (*negotiation.Answer, error) {
	var result answerResult
	select {
	case result = <-l.child.answers:
	case <-ctx.Done():
		// A plugin that refuses ends at once, but its answer says more.
		select {
		case result = <-l.child.answers:
		default:
			return nil, because(ctx, nil)
		}
	}
	var none *noAnswerError
	if errors.As(result.err, &none) && l.child.exitsWithin(exitAfterLoss) {
		// The output ended because the process did, which says more.
		return nil, errors.Join(errExited, ifHalf(none))
	}
	if result.err != nil {
		return nil, result.err
	}
	l.trace.answer(result.answer)
	err := result.answer.Check(l.offer)
	if mismatch, ok := errors.AsType[*handshake.Error](err); ok && mismatch.Code == handshake.CodeTransport && l.unprepared != nil {
		return nil, fmt.Errorf("%w; what was not offered: %w", err, l.unprepared)
	}
	return result.answer, l.explainSecurity(err)
}

func ifHalf(e *noAnswerError) error {
	if e.half == "" {
		return nil
	}
	return e
}

// connect dials the plugin, authenticates both sides, and opens the peer.
func (l *launch) connect(ctx context.Context, answer *negotiation.Answer) (*rpc.Peer, error) {
	if err := l.openSession(ctx, answer); err != nil {
		return nil, fmt.Errorf("%s: %w", answer.Transport, because(ctx, err))
	}
	peer, err := l.openPeer(ctx, answer)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", answer.Transport, because(ctx, err)), l.session.Close())
	}
	return peer, nil
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
	l.session, err = session.Dial(ctx, session.Config{
		Kind:        answer.Session,
		Transport:   t,
		Dial:        dial,
		Conn:        l.prepared.take(t.Name()),
		Credentials: l.creds,
		Foreign:     !answer.Plugwire,
	})
	return err
}

func (l *launch) openPeer(ctx context.Context, answer *negotiation.Answer) (*rpc.Peer, error) {
	conn, info, err := l.session.Open(ctx, session.Preamble{Purpose: session.Calls})
	if err != nil {
		return nil, err
	}
	if l.attaching {
		l.peerPID = secure.PeerPID(conn)
	}
	cfg := rpc.Config{
		Side:              "host",
		Other:             l.other(),
		Target:            l.name,
		MaxMessageSize:    l.maxMessageSize,
		Limits:            l.limits,
		Logger:            l.logger,
		Conn:              conn,
		ClientCredentials: secure.Known(info),
		UnaryClient:       l.unary,
		StreamClient:      l.stream,
		IsControl:         control.IsControl,
		Stalled:           l.child.whyStopped,
	}
	if !answer.Plugwire {
		cfg.Redial = l.redial
		if a, attached := l.child.Process.(*attached); !attached || a.isProven(l.peerPID) {
			cfg.Gone = l.child.exited
		}
	}
	// Whom a plugin is attached to it cannot know before: it is served always.
	if (len(l.bindings) > 0 || l.attaching) && answer.Plugwire {
		stream, info, err := l.session.Open(ctx, session.Preamble{Purpose: session.Callbacks})
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		l.serve(&cfg, &session.Stream{Conn: stream, Info: info})
	}
	peer, err := rpc.New(cfg)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if cfg.Listener != nil {
		go func() {
			if err := peer.Serve(); err != nil {
				l.child.logger.Error("serving the plugin ended", "error", err)
			}
		}()
	}
	if err := peer.Connect(ctx); err != nil {
		peer.Close()
		return nil, fmt.Errorf("connect, authenticated by %s: %w", answer.Security, err)
	}
	return peer, nil
}

// redial opens another stream for calls to a foreign plugin, whose server has ended the
// last. Plugwire's plugins end theirs when they end.
func (l *launch) redial(ctx context.Context) (net.Conn, error) {
	conn, _, err := l.session.Open(ctx, session.Preamble{Purpose: session.Calls})
	if err != nil {
		return nil, err
	}
	if pid := secure.PeerPID(conn); l.peerPID != 0 && pid != l.peerPID {
		return nil, errors.Join(fmt.Errorf("process %d listens there, and the plugin was process %d", pid, l.peerPID), conn.Close())
	}
	return conn, nil
}

// serve has the peer serve the host's services to the plugin on s.
func (l *launch) serve(cfg *rpc.Config, s *session.Stream) {
	cfg.Listener, cfg.Patient = session.Single(s), true
	cfg.ServerCredentials = session.Credentials()
	cfg.RegisterApplication = l.services
	cfg.UnaryServer, cfg.StreamServer = l.unaryServer, l.streamServer
	cfg.OnPanic = l.logPanic
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

func (l *launch) plugin(answer *negotiation.Answer, peer *rpc.Peer) *Plugin {
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
		peer:     peer,
		protocol: l.family.Version(answer.Version),
		foreign:  !answer.Plugwire,
		done:     make(chan struct{}),
		info: Info{
			Protocol:      l.family.Name(),
			Version:       answer.Version,
			Transport:     answer.Transport,
			Session:       answer.Session,
			Security:      answer.Security,
			Skipped:       strings.Join(skipped, "; "),
			PID:           pid,
			StartDuration: time.Since(l.started),
		},
		goplugin: l.newGoPlugin(answer, peer.Plain()),
	}
	return p
}

// fail ends what was started and says why.
func (l *launch) fail(cause error) error {
	e := &StartError{Attach: l.attaching, Phase: l.phase, Name: l.name, Command: l.command, Elapsed: time.Since(l.started), Err: cause}
	if l.child == nil {
		e.Hint = diagnose(cause, l.program)
	}
	if c := l.child; c != nil {
		ended := c.hasExited()
		if why := c.whyStopped(); why != "" && errors.Is(cause, context.DeadlineExceeded) {
			e.Err = fmt.Errorf("%w: %s", cause, why)
		}
		if err := c.stop(); err != nil {
			e.Err = errors.Join(e.Err, err)
		}
		if ended {
			e.Exit = &c.status
			e.Err = fmt.Errorf("the process ended with %v before it was ready", c.status)
			if !errors.Is(cause, errExited) {
				e.Err = fmt.Errorf("%w (%w)", cause, e.Err)
			}
		}
		e.Stdout, e.Stderr = c.stdout.Tail(), c.stderr.Tail()
		if e.Hint = hint(e); e.Hint == "" && e.Exit != nil && l.private != nil && len(l.private.Path()) > maxSocketDir {
			e.Hint = fmt.Sprintf("the directory for its socket has a path of %d bytes, and a plugin on go-plugin needs one of at most %d: set XDG_RUNTIME_DIR or TMPDIR of the host to a shorter directory", len(l.private.Path()), maxSocketDir)
		}
	}
	return e
}

// maxSocketDir is the longest path of a directory in which a plugin on go-plugin can make
// its socket, which has a name such as plugin4294967295. Such a plugin ends without a
// word of what is too long.
const maxSocketDir = len(syscall.RawSockaddrUnix{}.Path) - 1 - len("/plugin4294967295")

// otherCookie is what go-plugin's plugins print before they exit if the cookie is
// not theirs (server.go there).
const otherCookie = "This binary is a plugin. These are not meant to be executed directly."

func hint(e *StartError) string {
	switch {
	case errors.Is(e.Err, privdir.ErrDir):
		return hintDir
	case e.Exit != nil && strings.Contains(e.Stderr, otherCookie):
		return "it is on go-plugin and expects another cookie: give host.WithCookie its MagicCookieKey and MagicCookieValue"
	case e.Attach && (errors.Is(e.Err, fs.ErrNotExist) || errors.Is(e.Err, syscall.ECONNREFUSED)):
		return "has it ended? Start it again, and take what it prints then"
	case errors.Is(e.Err, context.DeadlineExceeded) && e.Phase == PhaseHandshake:
		return "is it a plugin? One prints a line such as 1|1|unix|/path|grpc as soon as it is ready"
	case e.Hint == "" && e.Exit != nil && *e.Exit == ExitStatus{} && e.Stderr == "":
		return "is it a plugin? It ended as if its work was done"
	default:
		return e.Hint
	}
}

func quoteShort(s string) string {
	const most = 200 // bytes of a line that a person wants to see in an error
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strconv.Quote(s)
}
