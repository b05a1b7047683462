package plugin

import (
	"os"
	"os/signal"
	"syscall"
)

// catchSignals changes what signals do to this process. own catches those of [Main]. It is
// nil in [Serve].
//
// Package os/signal takes a third of a millisecond to begin. In Main that happens in the
// background until the answer. A write to a broken pipe must not end the process meanwhile, so
// the signal is ignored at first, which is quick. A process that the plugin starts inherits
// what is ignored, but it starts none before its answer.
func (s *server) catchSignals(own func(ignoresTerminate bool)) {
	outlasts := s.lifeline != nil || s.outlivesForeign
	if own == nil {
		if outlasts {
			notifyBrokenPipe()
		}
		return
	}
	if outlasts {
		signal.Ignore(syscall.SIGPIPE)
	}
	s.signals.Go(func() {
		if outlasts {
			notifyBrokenPipe()
		}
		own(s.ignoresTerminate && s.lifeline != nil)
	})
}

// notifyBrokenPipe makes a write to a broken standard output or error only fail. By
// default the write ends the process. Once the host is gone, that could happen before the
// lifeline has removed the socket.
func notifyBrokenPipe() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
