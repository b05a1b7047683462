//go:build unix

package weather_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/examples/weather"
	"github.com/plugwire/plugwire/transport/unix"
)

// receive is a handler that reads all of a named stream, and returns the number
// of its bytes.
func receive(ctx context.Context) (n int64, err error) {
	conn, err := plugin.AcceptStream(ctx, "upload")
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return io.Copy(io.Discard, conn) // until the host's CloseWrite, or the end of the call
}

// upload is the host's side. The call says how much has arrived.
func upload(ctx context.Context, p *host.Plugin, r io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		got int64
		err error
	}
	called := make(chan result, 1)
	go func() {
		reading, err := weather.NewStationClient(p).GetReading(ctx, &weather.GetReadingRequest{Sensor: "bytes"})
		if err != nil {
			cancel() // no handler accepts the stream any more
		}
		called <- result{reading.GetTimeMillis(), err}
	}()
	conn, err := p.OpenStream(ctx, "upload")
	if err != nil {
		return err
	}
	defer conn.Close()
	sent, err := io.Copy(conn, r)
	if err == nil {
		err = conn.(interface{ CloseWrite() error }).CloseWrite() // ends the stream
	}
	if err != nil {
		return err
	}
	if c := <-called; c.err != nil || c.got != sent {
		return errors.Join(c.err, fmt.Errorf("%d of %d bytes arrived", c.got, sent))
	}
	return nil
}

func TestUpload(t *testing.T) {
	t.Parallel()
	p := plugintest.Start(t, weather.ServeStation(newFaulty()), unix.New())
	if err := upload(t.Context(), p, bytes.NewReader(make([]byte, 10<<20))); err != nil {
		t.Error(err)
	}
}
