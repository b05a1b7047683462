package host

import (
	"context"
	"errors"
	"os/exec"
	"testing"

	"github.com/plugwire/plugwire/core/protocol"
)

// forgetfulRunner starts nothing, and does not say so.
type forgetfulRunner struct{}

func (forgetfulRunner) Start(context.Context, StartConfig) (Process, error) { return nil, nil }

// A mistake of a runner is the error of the start, and does not end the host.
func TestRunnerWithoutProcess(t *testing.T) {
	t.Parallel()
	_, err := Launch(t.Context(), exec.Command("/plugin"), WithProtocols(protocol.New("test", 1)),
		WithTransports(noTransport{}), WithRunner(forgetfulRunner{}))
	if !errors.Is(err, errNoProcess) {
		t.Errorf("%v", err)
	}
}
