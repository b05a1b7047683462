//go:build unix

package top

import (
	"os"
	"os/signal"
	"syscall"
)

// onSuspend gives the terminal back while a person has suspended the command (Ctrl-Z). The
// caller calls the function when the command ends.
func (c *command) onSuspend() (stop func()) {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGTSTP)
	go func() {
		defer close(done)
		for range signals {
			_ = c.out.Marked(leaveScreen) // the next table reports the error
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
			_ = c.out.Marked(enterScreen) // from here on the command goes on
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}
