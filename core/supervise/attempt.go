package supervise

import "context"

// attempt is a start that is under way.
type attempt struct {
	plan      *plan // of the start
	outcome   chan outcome
	abandoned chan struct{}
	cancel    context.CancelFunc
}

// outcome is what came of a start: a plugin that is ready, or an error.
type outcome struct {
	plugin instance
	err    error
}

// begin runs bringUp in a goroutine of its own.
func (m *machine) begin(ctx context.Context, p *plan, bringUp launcher) *attempt {
	ctx, cancel := context.WithCancel(ctx)
	a := &attempt{plan: p, outcome: make(chan outcome), abandoned: make(chan struct{}), cancel: cancel}
	m.working.Go(func() {
		defer cancel()
		var o outcome
		o.plugin, o.err = bringUp(ctx)
		select {
		case a.outcome <- o:
		case <-a.abandoned:
			if o.plugin != nil {
				stop(o.plugin)
			}
		}
	})
	return a
}

// abandon ends the start. A plugin that has come of it already is stopped.
func (a *attempt) abandon() {
	a.cancel()
	close(a.abandoned)
}
