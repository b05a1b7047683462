package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
)

// runHooks runs the functions of [OnShutdown], the last added first.
func (s *server) runHooks(ctx context.Context, logger *slog.Logger) error {
	var errs []error
	for _, hook := range slices.Backward(s.onShutdown) {
		if err := runHook(ctx, hook); err != nil {
			logHookError(ctx, logger, "a shutdown function failed", err)
			errs = append(errs, fmt.Errorf("shutdown function: %w", err))
		}
	}
	return errors.Join(errs...)
}

// errHookGoexit is the error of a hook that ended its goroutine.
var errHookGoexit = errors.New("it called runtime.Goexit, as testing's FailNow does")

// panicError is the error of a hook that panicked.
type panicError struct {
	value any
	stack []byte
}

// Error implements error. The stack is for the log.
func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// runHook returns when hook does or when ctx ends, whichever is first: the host does
// not wait longer, and a hook that ignores its context must not keep the process.
func runHook(ctx context.Context, hook func(context.Context) error) error {
	done := make(chan error, 1)
	go func() {
		err := errHookGoexit
		defer func() {
			if value := recover(); value != nil {
				err = &panicError{value, debug.Stack()}
			}
			done <- err
		}()
		err = hook(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("it had not returned when its time was over: %w", context.Cause(ctx))
	}
}

// logHookError logs the error of a hook, with the stack of a panic.
func logHookError(ctx context.Context, logger *slog.Logger, message string, err error) {
	if p, ok := errors.AsType[*panicError](err); ok {
		logger.ErrorContext(ctx, message, "error", err, "stack", string(p.stack)) //nolint:sloglint // a constant of the caller
		return
	}
	logger.ErrorContext(ctx, message, "error", err) //nolint:sloglint // a constant of the caller
}
