package host

import (
	"context"
	"errors"
	"fmt"
)

// Quitter is a [Process] that can be told to say what it is doing. See [Plugin.Quit].
type Quitter interface {
	// Quit makes the process, and all that it started, print what they are doing, and
	// end: on Unix by SIGQUIT, at which a program in Go prints the stacks of its
	// goroutines. It returns errors.ErrUnsupported if the system has no such request.
	Quit(ctx context.Context) error
}

var errQuit = errors.New("its host made it print the stacks of its goroutines")

// Quit ends a plugin that hangs, and finds out where it hangs. A plugin in Go prints the
// stacks of its goroutines on standard error and ends: the log has all of them, and the
// [*ExitError] has the first ones. A plugin in another language usually ends without a
// word.
//
// Quit waits for the end until ctx ends. A plugin that is stopped (SIGSTOP) can print
// nothing and goes on. The error is an [errors.ErrUnsupported] if the plugin cannot be told, as on Windows or
// if this host has attached to it. [Plugin.Shutdown] stops a plugin after all.
func (p *Plugin) Quit(ctx context.Context) error {
	q, ok := processAs[Quitter](p.child.Process)
	if !ok {
		return fmt.Errorf("plugin %s cannot be told to print its stacks: %w", p.child.label(), errors.ErrUnsupported)
	}
	if why := p.child.whyStopped(); why != "" {
		return fmt.Errorf("plugin %s cannot print its stacks: %s", p.child.label(), why)
	}
	if !p.child.hasExited() {
		p.quit.Store(true)
		if err := q.Quit(ctx); err != nil {
			return fmt.Errorf("plugin %s: %w", p.child.label(), err)
		}
	}
	if !p.endsBy(ctx) {
		return fmt.Errorf("plugin %s has not ended after it was told to print its stacks: %w", p.child.label(), context.Cause(ctx))
	}
	return nil
}
