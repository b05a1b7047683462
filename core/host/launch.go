package host

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/logs"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/privdir"
	"github.com/plugwire/plugwire/core/internal/process"
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
	built    frameworks // of the program; the zero value if that does not matter
	offer    *negotiation.Offer
	prepared preparedConns
	verified *process.Copy // nil without a checksum; the child's once there is one
	private  *privdir.Dir  // nil where there is none; the child's once there is one
	child    *child        // nil until the process is started
	creds    *secure.Credentials
	session  *session.Session // nil until it is opened

	multiplexed *multiplexedEnd // nil except in go-plugin's multiplexed mode

	attaching bool // the process was there before
	reached   bool // the first stream was opened, and peerPID is set
	peerPID   int  // the process that the kernel names as the other end; 0 if none

	unprepared error // why transports were not offered; nil if all were
	uid        int   // the user that the plugin runs as
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
	l.showStatus(ctx)
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
	l.shown.Started(l.child.localProcessID())
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
		Protocol:   l.offeredProtocol(),
		Sessions:   sessions(l.transports),
		Wires:      l.wires,
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
		l.offer.SocketGroup = l.socketGroup
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
	if errors.As(result.err, &none) && l.child.exitsAfterLoss() {
		// The output ended because the process did, which says more.
		return nil, errors.Join(errExited, ifHalf(none))
	}
	if result.err != nil {
		return nil, result.err
	}
	l.trace.answer(result.answer)
	agreed, err := result.answer.Check(l.offer)
	if mismatch, ok := errors.AsType[*handshake.Error](err); ok && mismatch.Code == handshake.CodeTransport && l.unprepared != nil {
		return nil, fmt.Errorf("%w; what was not offered: %w", err, l.unprepared)
	}
	return agreed, l.explainSecurity(err)
}

func ifHalf(e *noAnswerError) error {
	if e.half == "" {
		return nil
	}
	return e
}

func quoteShort(s string) string {
	const most = 200 // bytes of a line that a person wants to see in an error
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strconv.Quote(s)
}
