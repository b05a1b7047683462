package plugin

import (
	"errors"
	"io"
)

// printedOutput is where a plugin reads what a host on go-plugin gets as its output.
type printedOutput struct{ stdout, stderr io.Reader }

// WithPrinted sets what a host on go-plugin gets as the output of the plugin (GRPCStdio):
// what is read from stdout and stderr, until they end. Either may be nil. [Serve] reads from
// the start, whether a host fetches the output or not, and closes a reader that is an
// [io.Closer] when it returns. That must end a Read.
//
// It is for a plugin in the process of a test. [Main] and [Run] capture what the process
// prints: with them the option is an error.
func WithPrinted(stdout, stderr io.Reader) Option {
	return optionFunc(func(cfg *config) error {
		cfg.printed = printedOutput{stdout, stderr}
		return nil
	})
}

var errPrinted = errors.New("plugin.WithPrinted: Main and Run capture what the process prints: leave the option out, or use Serve")

// isSet reports whether the option was given.
func (p printedOutput) isSet() bool { return p.stdout != nil || p.stderr != nil }

// end ends the readers.
func (p printedOutput) end() {
	for _, r := range []io.Reader{p.stdout, p.stderr} {
		if c, ok := r.(io.Closer); ok {
			_ = c.Close() // nothing reads it any more
		}
	}
}
