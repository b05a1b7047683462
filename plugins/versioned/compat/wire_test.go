package compat_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/plugins/versioned/compat"
	"github.com/plugwire/plugwire/plugins/versioned/example"
	"github.com/plugwire/plugwire/plugins/versioned/internal/violation"
	"github.com/plugwire/plugwire/plugins/versioned/processor"
	"github.com/plugwire/plugwire/transport/unix"
)

// patience bounds a wait for something that should happen at once.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves both versions by handler to a host that speaks those given,
// through a real handshake and transport.
func start(t *testing.T, handler example.DataProcessorV2Handler, speaks ...*protocol.Protocol) *host.Plugin {
	t.Helper()
	both := protocol.Join(example.ServeDataProcessorV1(compat.NewV1(handler)), example.ServeDataProcessorV2(handler))
	return plugintest.StartWith(t, both, unix.New(),
		[]plugin.Option{plugin.WithMaxMessageSize(processor.MaxMessageSize)}, host.WithProtocols(speaks...))
}

func TestVersion1OverTheWire(t *testing.T) {
	p := start(t, processor.New(), example.DataProcessorV1Protocol)
	if p.Info().Version != 1 {
		t.Fatalf("version %d, want 1", p.Info().Version)
	}
	client := example.NewDataProcessorV1Client(p)
	response, err := client.Process(t.Context(), &example.ProcessRequestV1{Data: "b\na", Options: map[string]string{"sort": "true"}})
	if err != nil || response.GetResult() != "a\nb" {
		t.Errorf("%v, %v", response, err)
	}
	_, err = client.Process(t.Context(), &example.ProcessRequestV1{})
	s := status.Convert(err)
	if v := violation.Of(s); s.Code() != codes.InvalidArgument || len(v) != 1 || v[0].GetField() != "data" {
		t.Errorf("error %v, violations %v", err, v)
	}
	// Only the services of the chosen version are available.
	_, err = example.NewDataProcessorV2Client(p).Process(t.Context(), &example.ProcessRequestV2{Text: "a"})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("a call of version 2: %v, want Unimplemented", err)
	}
}

func TestVersion2OverTheWire(t *testing.T) {
	for name, speaks := range map[string][]*protocol.Protocol{
		"only 2":  {example.DataProcessorV2Protocol},
		"1 and 2": {example.DataProcessorV1Protocol, example.DataProcessorV2Protocol},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, processor.New(), speaks...)
			if p.Info().Version != 2 {
				t.Fatalf("version %d, want 2", p.Info().Version)
			}
			response, err := example.NewDataProcessorV2Client(p).BatchProcess(t.Context(), &example.BatchProcessRequest{Items: []*example.ProcessRequestV2{
				{Text: "a", Metadata: map[string]string{"k": "v"}},
				{},
				{Text: "b c\n"},
			}})
			if err != nil {
				t.Fatal(err)
			}
			r := response.GetResults()
			if len(r) != 3 || r[0].GetResponse().GetMetadata()["k"] != "v" || r[2].GetResponse().GetStatistics().GetWords() != 2 {
				t.Fatalf("results %v", r)
			}
			if v := r[1].GetError().GetViolations(); len(v) != 1 || v[0].GetField() != "text" {
				t.Errorf("violations %v", v)
			}
		})
	}
}

// The promised limits fit into one message, and a larger message is not even
// read.
func TestTheLargestBatch(t *testing.T) {
	text := strings.Repeat("a", maxText/4)
	longer := &example.Operation{Kind: &example.Operation_Replace{Replace: &example.Replace{Old: "a", New: "bbbb"}}}
	metadata := map[string]string{"long": strings.Repeat("m", 4<<10-len("long")-15)}
	for i := range 15 {
		metadata[string(rune('a'+i))] = ""
	}
	items := make([]*example.ProcessRequestV2, 50)
	for i := range items {
		items[i] = &example.ProcessRequestV2{Text: text, Operations: []*example.Operation{longer}, Metadata: metadata}
	}
	client := example.NewDataProcessorV2Client(start(t, processor.New(), example.DataProcessorV2Protocol))
	response, err := client.BatchProcess(t.Context(), &example.BatchProcessRequest{Items: items})
	if err != nil {
		t.Fatal(err)
	}
	got, want := map[int]int{}, map[int]int{4 * len(text): len(items)}
	for _, r := range response.GetResults() {
		if n := len(r.GetResponse().GetMetadata()); n != len(metadata) {
			t.Errorf("%d entries of metadata, want %d", n, len(metadata))
		}
		got[len(r.GetResponse().GetText())]++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lengths (-want +got):\n%s", diff)
	}
	_, err = client.Process(t.Context(), &example.ProcessRequestV2{Text: strings.Repeat("a", processor.MaxMessageSize)})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a longer request: error %v, want ResourceExhausted", err)
	}
}

// blockingHandler is a handler whose Process blocks until the caller gives up.
type blockingHandler struct {
	*processor.Processor
	begun, ended chan struct{}
}

func (w blockingHandler) Process(ctx context.Context, _ *example.ProcessRequestV2) (*example.ProcessResponseV2, error) {
	close(w.begun)
	<-ctx.Done()
	close(w.ended)
	return nil, status.FromContextError(ctx.Err()).Err()
}

// Cancelling a call of version 1 cancels it for the handler of version 2.
func TestVersion1Canceled(t *testing.T) {
	handler := blockingHandler{processor.New(), make(chan struct{}), make(chan struct{})}
	client := example.NewDataProcessorV1Client(start(t, handler, example.DataProcessorV1Protocol))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error, 1)
	go func() {
		_, err := client.Process(ctx, &example.ProcessRequestV1{Data: "a"})
		result <- err
	}()
	timeout := time.After(patience)
	select {
	case <-handler.begun:
	case <-timeout:
		t.Fatal("the call has not arrived")
	}
	cancel()
	select {
	case <-handler.ended:
	case <-timeout:
		t.Fatal("the handler still waits")
	}
	if err := <-result; status.Code(err) != codes.Canceled {
		t.Errorf("error %v, want Canceled", err)
	}
}
