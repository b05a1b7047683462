package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/control"
)

// awaitReady runs the functions that the plugin wants to run when its host is
// connected (plugin.OnReady), and waits for them. With an error it closes the ends and
// the session.
func (l *launch) awaitReady(ctx context.Context, e ends) error {
	call, cancel := outlastingExit(ctx)
	defer cancel()
	err := control.Ready(call, e.client.Plain())
	switch status.Code(err) {
	case codes.OK:
		return nil
	case codes.Unimplemented:
		return nil // an attached plugin of another language, which has no such functions
	case codes.FailedPrecondition:
		err = errors.New(status.Convert(err).Message())
	default:
		if ended := because(ctx, nil); ended != nil {
			err = fmt.Errorf("%w: the plugin is connected, but its functions given with plugin.OnReady have not returned", ended)
		}
	}
	e.close()
	err = errors.Join(err, l.session.Close())
	if ctx.Err() == nil && !l.attaching {
		l.child.exitsAfterLoss() // the plugin ends by itself, and how it ends says more
	}
	return err
}

// outlastingExit returns a context that ends like ctx, but a little later if ctx ends
// because the process does. A plugin that is not ready says why and then ends. Without the
// delay its answer was lost if the host noticed the end first.
//
// The context has no deadline. The plugin would notice a deadline at the same moment as
// the host, and the host's error then had one of two texts.
func outlastingExit(ctx context.Context) (context.Context, context.CancelFunc) {
	call, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		cause := context.Cause(ctx)
		if !errors.Is(cause, errExited) {
			cancel(cause)
			return
		}
		select {
		case <-time.After(exitAfterLoss):
			cancel(cause)
		case <-call.Done():
		}
	})
	return call, func() { stop(); cancel(nil) }
}
