package host

import (
	"os/exec"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/transport"
)

// Trace is hooks into the life of one plugin, in the order in which they are
// called, in the style of net/http/httptrace. Any may be nil. They are called
// from several goroutines, one at a time up to Ready, and must not block.
type Trace struct {
	// ProcessStart is called before the process is started, with the command as
	// it will be run. Its environment holds the offer.
	ProcessStart func(cmd *exec.Cmd)
	// ProcessStarted is called with the runner's id of the process: its number.
	ProcessStarted func(id string)
	// Answer is called with the plugin's answer before it is checked.
	Answer func(answer *handshake.Answer)
	// Dial is called before the plugin's address is dialed.
	Dial func(id transport.ID, address string)
	// Connected is called when the plugin is dialed and authenticated, or when
	// that failed.
	Connected func(err error)
	// Ready is called when calls can be made.
	Ready func(info Info)
	// Stopping is called for each step that a shutdown needs.
	Stopping func(step Step)
	// ProcessExited is called when the process and its group have ended.
	ProcessExited func(status ExitStatus)
}

func (t *Trace) processStart(cmd *exec.Cmd) {
	if t.ProcessStart != nil {
		t.ProcessStart(cmd)
	}
}

func (t *Trace) processStarted(id string) {
	if t.ProcessStarted != nil {
		t.ProcessStarted(id)
	}
}

func (t *Trace) answer(a *handshake.Answer) {
	if t.Answer != nil {
		t.Answer(a)
	}
}

func (t *Trace) dial(id transport.ID, address string) {
	if t.Dial != nil {
		t.Dial(id, address)
	}
}

func (t *Trace) connected(err error) {
	if t.Connected != nil {
		t.Connected(err)
	}
}

func (t *Trace) ready(info Info) {
	if t.Ready != nil {
		t.Ready(info)
	}
}

func (t *Trace) stopping(step Step) {
	if t.Stopping != nil {
		t.Stopping(step)
	}
}

func (t *Trace) processExited(status ExitStatus) {
	if t.ProcessExited != nil {
		t.ProcessExited(status)
	}
}
