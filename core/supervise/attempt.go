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
	undo   func() // runs when the plugin is not used after all; may be nil
}

// begin runs bringUp in a goroutine of its own.
func (m *machine) begin(ctx context.Context, p *plan, bringUp func(ctx context.Context) outcome) *attempt {
	ctx, cancel := context.WithCancel(m.row.WithRow(ctx))
	a := &attempt{plan: p, outcome: make(chan outcome), abandoned: make(chan struct{}), cancel: cancel}
	m.working.Go(func() {
		defer cancel()
		o := bringUp(ctx)
		select {
		case a.outcome <- o:
		case <-a.abandoned:
			if o.plugin != nil {
				m.stop(o.plugin)
				o.runUndo()
			}
		}
	})
	return a
}

func (o outcome) runUndo() {
	if o.undo != nil {
		o.undo()
	}
}

// abandon ends the start. A plugin that has come of it already is stopped.
func (a *attempt) abandon() {
	a.cancel()
	close(a.abandoned)
}
