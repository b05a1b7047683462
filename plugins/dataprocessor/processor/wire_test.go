package processor_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
	"github.com/plugwire/plugwire/plugins/dataprocessor/processor"
	"github.com/plugwire/plugwire/transport/unix"
)

// patience bounds a wait for something that should happen at once.
const patience = 20 * time.Second

// start returns a client of handler, through a real handshake and transport.
func start(t *testing.T, handler example.DataProcessorHandler) example.DataProcessorClient {
	t.Helper()
	return example.NewDataProcessorClient(plugintest.Start(t, example.ServeDataProcessor(handler), unix.New()))
}

func TestOverTheWire(t *testing.T) {
	client := start(t, processor.New())
	ctx := t.Context()

	response, err := client.ProcessData(ctx, &example.ProcessRequest{
		Data:    "straße",
		Options: map[string]string{"uppercase": "true"},
		Tags:    []string{"a", "b"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if response.GetResult() != "[a,b] STRASSE" || response.GetStatusCode() != 0 || response.GetProcessingTime() <= 0 {
		t.Errorf("response %v", response)
	}

	_, err = client.ProcessData(ctx, &example.ProcessRequest{})
	wantInvalid(t, err, "data", "data field is required")
	_, err = client.ProcessData(ctx, &example.ProcessRequest{Data: "x", Options: map[string]string{"trim": "1"}})
	wantInvalid(t, err, `options["trim"]`, `option trim has the value "1": want true or false`)

	stream, err := client.StreamResults(ctx, &example.StreamRequest{Query: "STRASSE"})
	if err != nil {
		t.Fatal(err)
	}
	item, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if item.GetId() != "1" || item.GetData() != "[a,b] STRASSE" {
		t.Errorf("item %v", item)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("error %v after the last item, want EOF", err)
	}

	stream, err = client.StreamResults(ctx, &example.StreamRequest{Limit: -5})
	if err == nil {
		_, err = stream.Recv()
	}
	wantInvalid(t, err, "limit", "limit must not be negative, it is -5")

	s, err := client.GetStatus(ctx, &example.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if s.GetStatus() != "healthy" || s.GetVersion() != processor.Version {
		t.Errorf("status %v", s)
	}
}

// watchedProcessor reports how each StreamResults call ended.
type watchedProcessor struct {
	*processor.Processor
	ended chan error
}

func (w watchedProcessor) StreamResults(request *example.StreamRequest, stream grpc.ServerStreamingServer[example.ResultItem]) error {
	err := w.Processor.StreamResults(request, stream)
	w.ended <- err
	return err
}

func TestCallerCancelsStream(t *testing.T) {
	handler := watchedProcessor{processor.New(), make(chan error, 1)}
	client := start(t, handler)
	// Store more than a connection buffers, so that the stream cannot end by
	// itself.
	data := strings.Repeat("x", 64<<10)
	const results = 500
	for range results {
		mustProcess(t, handler.Processor, &example.ProcessRequest{Data: data})
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := client.StreamResults(ctx, &example.StreamRequest{Limit: results})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-handler.ended:
		if status.Code(err) != codes.Canceled {
			t.Errorf("the handler returned %v, want Canceled", err)
		}
	case <-time.After(patience):
		t.Fatal("the handler still sends")
	}
	if _, err := client.GetStatus(t.Context(), &example.StatusRequest{}); err != nil {
		t.Errorf("the next call: %v", err)
	}
}
