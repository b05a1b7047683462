package supervise_test

import (
	"context"
	"os/exec"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/supervise"
)

// A host for development builds its plugin again, and swaps it in, whenever a source has
// changed.
func ExampleWatch() {
	_ = develop // a main function returns its error
}

func develop(ctx context.Context, opts ...host.Option) error {
	const program = "bin/words-plugin"
	h, err := supervise.Start(ctx, func(ctx context.Context) (*host.Plugin, error) {
		return host.Launch(ctx, exec.Command(program), opts...)
	})
	if err != nil {
		return err
	}
	defer h.Close()

	build := exec.Command("go", "build", "-o", program, "./cmd/words-plugin")
	watcher, err := supervise.Watch(h, program, supervise.WithBuild(build, "cmd", "words"))
	if err != nil {
		return err
	}
	defer watcher.Close()

	<-ctx.Done()
	return nil
}
