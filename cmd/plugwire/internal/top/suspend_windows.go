package top

// onSuspend does nothing: this system cannot suspend a command.
func (*command) onSuspend() (stop func()) { return func() {} }
