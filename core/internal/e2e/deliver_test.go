//go:build unix

package e2e_test

import (
	"errors"
	"io"
	"testing"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
)

// TestShutdownDelivers stops a plugin that has just sent the last of a long
// answer: also where its own process delivers, and not the kernel, all of it
// arrives.
func TestShutdownDelivers(t *testing.T) {
	for _, name := range ways.Names() {
		t.Run(name, func(t *testing.T) {
			over := host.WithTransports(ways.Named(name))
			p := launch(t, command("versions-plugin", ways.Names()...), over)
			const count, size = 40, 256 << 10
			stream, err := echopb.NewEchoClient(p).Download(testContext(t), &echopb.DownloadRequest{Count: count, Size: size})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
			closed := make(chan error, 1)
			go func() { closed <- p.Close() }()
			got := 1
			for ; ; got++ {
				chunk, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil || len(chunk.GetData()) != size {
					t.Fatalf("chunk %d: %d bytes, %v", got, len(chunk.GetData()), err)
				}
			}
			if got != count {
				t.Errorf("%d of %d chunks arrived", got, count)
			}
			if err := waitFor(t, "Close", closed); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}
