package processor

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/plugins/versioned/example"
	"github.com/plugwire/plugwire/transport/unix"
)

// patience bounds a wait for something that should happen at once.
const patience = 20 * time.Second

// watchedProcessor reports when each batch begins and how it ends.
type watchedProcessor struct {
	*Processor
	begun chan struct{}
	ended chan error
}

func (w watchedProcessor) BatchProcess(ctx context.Context, request *example.BatchProcessRequest) (*example.BatchProcessResponse, error) {
	w.begun <- struct{}{}
	response, err := w.Processor.BatchProcess(ctx, request)
	w.ended <- err
	return response, err
}

// A caller that gives up ends its batch, and frees the plugin for other
// callers.
func TestCallerCancelsBatch(t *testing.T) {
	handler := watchedProcessor{&Processor{batches: newPool(1)}, make(chan struct{}, 2), make(chan error, 2)}
	client := example.NewDataProcessorV2Client(plugintest.Start(t, example.ServeDataProcessorV2(handler), unix.New()))
	request := &example.BatchProcessRequest{Items: []*example.ProcessRequestV2{{Text: "a"}, {Text: "b"}}}
	handler.batches <- struct{}{} // another batch keeps running

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error, 1)
	go func() {
		_, err := client.BatchProcess(ctx, request)
		result <- err
	}()
	timeout := time.After(patience)
	select {
	case <-handler.begun:
	case <-timeout:
		t.Fatal("the batch has not arrived")
	}
	// A single text does not wait for batches.
	if _, err := client.Process(t.Context(), &example.ProcessRequestV2{Text: "c"}); err != nil {
		t.Error(err)
	}
	cancel()
	select {
	case err := <-handler.ended:
		if status.Code(err) != codes.Canceled {
			t.Errorf("the handler returned %v, want Canceled", err)
		}
	case <-timeout:
		t.Fatal("the handler still waits")
	}
	if err := <-result; status.Code(err) != codes.Canceled {
		t.Errorf("error %v, want Canceled", err)
	}

	<-handler.batches // the other batch has ended
	response, err := client.BatchProcess(t.Context(), request)
	if err != nil || len(response.GetResults()) != 2 {
		t.Errorf("the next batch: %v, %v", response, err)
	}
}
