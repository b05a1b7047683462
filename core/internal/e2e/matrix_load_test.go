//go:build linux

package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/matrix"
	"github.com/plugwire/plugwire/core/internal/e2e/matrixpb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
)

// chunkSize is the length of a message of those tests that send many.
const chunkSize = 64 << 10

// TestConcurrentStreams sends much data each way over several streams at the
// same time. They end in the reverse order of their start.
func TestConcurrentStreams(t *testing.T) {
	const count = 100
	chunks := 1 << 20 / chunkSize
	if raceEnabled {
		chunks /= 4 // 1 MiB each takes a minute; this is still more than a window
	}
	for _, name := range ways.Names() {
		t.Run(name, func(t *testing.T) {
			p := launchMatrix(t, name)
			ctx := testContext(t)
			var streams [count]grpc.BidiStreamingClient[echopb.Payload, echopb.Payload]
			var err error
			for i := range streams {
				if streams[i], err = p.Chat(ctx); err != nil {
					t.Fatal(err)
				}
			}
			var turns [count + 1]chan struct{} // closed when the stream has ended
			for i := range turns {
				turns[i] = make(chan struct{})
			}
			close(turns[count])
			var working sync.WaitGroup
			for i, stream := range streams {
				working.Go(func() {
					if err := sendChunks(stream, i, chunks, turns[i+1]); err != nil {
						t.Errorf("send on stream %d: %v", i, err)
					}
				})
				working.Go(func() {
					defer close(turns[i])
					if err := receiveChunks(stream, i, chunks); err != nil {
						t.Errorf("receive on stream %d: %v", i, err)
					}
				})
			}
			working.Wait()
		})
	}
}

// chunk returns the nth chunk of a stream.
func chunk(stream, n int) []byte {
	return bytes.Repeat([]byte{byte(stream), byte(n)}, chunkSize/2)
}

// sendChunks sends chunks, and waits before the last one until the streams that
// must end before have ended.
func sendChunks(stream grpc.BidiStreamingClient[echopb.Payload, echopb.Payload], i, chunks int, turn <-chan struct{}) error {
	for n := range chunks {
		if n == chunks-1 {
			<-turn
		}
		if err := stream.Send(&echopb.Payload{Data: chunk(i, n)}); err != nil {
			return err
		}
	}
	return stream.CloseSend()
}

func receiveChunks(stream grpc.BidiStreamingClient[echopb.Payload, echopb.Payload], i, chunks int) error {
	for n := range chunks {
		got, err := stream.Recv()
		if err != nil {
			return err
		}
		if !bytes.Equal(got.GetData(), chunk(i, n)) {
			return fmt.Errorf("chunk %d is not the one that was sent", n)
		}
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the end: %w", err)
	}
	return nil
}

// maxUnread bounds the bytes in flight to a reader that does not read: the
// windows of the wire and of the session, and the buffers of the system.
const maxUnread = 4 << 20

// maxStalledHeap bounds the growth of either process by unread bytes.
const maxStalledHeap = 16 << 20

// TestReaderThatWaits checks a receiver on either side that does not read for a
// while: only the sender blocks, and at last everything arrives.
func TestReaderThatWaits(t *testing.T) {
	count := 64 << 20 / chunkSize
	if raceEnabled {
		count /= 4 // takes as long; this is still far more than may be unread
	}
	for _, name := range ways.Names() {
		t.Run(name, func(t *testing.T) {
			p := launchMatrix(t, name)
			before, hostBefore := p.look(t), matrix.Heap()
			assertStalled := func(sent func() int64) {
				t.Helper()
				moved := settled(t, sent)
				after, hostAfter := p.look(t), matrix.Heap()
				t.Logf("%d KiB unread, heap of the host %+d KiB, of the plugin %+d KiB", moved>>10,
					(int64(hostAfter)-int64(hostBefore))>>10, (int64(after.GetHeap())-int64(before.GetHeap()))>>10)
				if moved > maxUnread {
					t.Errorf("%d bytes were sent that nobody reads", moved)
				}
				if hostAfter > hostBefore+maxStalledHeap {
					t.Errorf("the heap of the host grew from %d to %d bytes", hostBefore, hostAfter)
				}
				if after.GetHeap() > before.GetHeap()+maxStalledHeap {
					t.Errorf("the heap of the plugin grew from %d to %d bytes", before.GetHeap(), after.GetHeap())
				}
				// Other calls, large ones too, still work.
				for range 3 {
					if got, err := p.Unary(testContext(t), &echopb.Payload{Data: make([]byte, 1<<20)}); err != nil || len(got.GetData()) != 1<<20 {
						t.Errorf("a call beside a stream that waits: %d bytes, %v", len(got.GetData()), err)
					}
				}
			}

			flood, err := p.matrix.Flood(testContext(t), &matrixpb.Order{Count: int32(count), Size: chunkSize})
			if err != nil {
				t.Fatal(err)
			}
			assertStalled(func() int64 { return p.look(t).GetMoved() })
			got := 0
			for ; ; got++ {
				if _, err = flood.Recv(); err != nil {
					break
				}
			}
			if got != count || !errors.Is(err, io.EOF) {
				t.Errorf("the host received %d of %d chunks, then %v", got, count, err)
			}

			dam, err := p.matrix.Dam(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			var sent atomic.Int64
			done := make(chan error, 1)
			go func() {
				for range count {
					if err := dam.Send(&matrixpb.Chunk{Data: make([]byte, chunkSize)}); err != nil {
						done <- err
						return
					}
					sent.Add(chunkSize)
				}
				done <- nil
			}()
			assertStalled(sent.Load)
			if _, err := p.matrix.Open(testContext(t), &matrixpb.Empty{}); err != nil {
				t.Fatal(err)
			}
			if err := waitFor(t, "the sender", done); err != nil {
				t.Error(err)
			}
			if state, err := dam.CloseAndRecv(); err != nil || state.GetMoved() != int64(2*count*chunkSize) {
				t.Errorf("the plugin moved %d of %d bytes, %v", state.GetMoved(), 2*count*chunkSize, err)
			}
		})
	}
}

// settled waits until a growing number stops growing. It treats a pause as the
// end. If that is wrong, the test sees too little, and passes.
func settled(t *testing.T, number func() int64) int64 {
	t.Helper()
	const interval, pause = 10 * time.Millisecond, 15 // number of equal reads
	tick := time.NewTicker(interval)
	defer tick.Stop()
	last, since := int64(0), 0
	for deadline := time.Now().Add(hang); since < pause; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it still grows: %d", last)
		}
		since++
		if now := number(); now != last || now == 0 {
			last, since = now, 0
		}
	}
	return last
}

// TestManyShortStreams checks that nothing is left of streams on either side.
func TestManyShortStreams(t *testing.T) {
	count := 10_000
	if raceEnabled {
		count /= 10 // each takes many times as long
	}
	for _, name := range ways.Names() {
		t.Run(name, func(t *testing.T) {
			p := launchMatrix(t, name)
			run := func(count int) {
				t.Helper()
				for i := range count {
					if err := shortStream(t, p); err != nil {
						t.Fatalf("stream %d: %v", i, err)
					}
				}
			}
			run(200) // afterwards everything that is made only once exists
			before := takeMatrixFootprint(t, p)
			began := time.Now()
			run(count)
			t.Logf("%d streams in %v", count, time.Since(began).Round(time.Millisecond))
			eventually(t, settleTime, func() string {
				after := takeMatrixFootprint(t, p)
				t.Logf("heap of the host %+d KiB, of the plugin %+d KiB", (after.hostHeap-before.hostHeap)>>10, (after.pluginHeap-before.pluginHeap)>>10)
				return before.complaint(after)
			})
		})
	}
}

func shortStream(t *testing.T, p *matrixPlugin) error {
	t.Helper()
	stream, err := p.Chat(t.Context())
	if err != nil {
		return err
	}
	if err := stream.Send(&echopb.Payload{Data: []byte("hello")}); err != nil {
		return err
	}
	if _, err := stream.Recv(); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the end: %w", err)
	}
	return nil
}

// matrixFootprint has the resources of a host and its plugin.
type matrixFootprint struct {
	HostDescriptors, PluginDescriptors map[int]string
	hostGoroutines, pluginGoroutines   int
	hostHeap, pluginHeap               int64
}

func takeMatrixFootprint(t *testing.T, p *matrixPlugin) matrixFootprint {
	t.Helper()
	var f matrixFootprint
	var errs [2]error
	f.HostDescriptors, errs[0] = descriptors(os.Getpid())
	f.PluginDescriptors, errs[1] = descriptors(p.Info().PID)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	state := p.look(t)
	f.pluginGoroutines, f.pluginHeap = int(state.GetGoroutines()), int64(state.GetHeap())
	f.hostGoroutines, f.hostHeap = runtime.NumGoroutine(), int64(matrix.Heap())
	return f
}

// maxHeapGrowth is less than 1 KiB for each stream, even in the test with the
// fewest.
const maxHeapGrowth = 512 << 10

// complaint names the resources that have grown.
func (f matrixFootprint) complaint(after matrixFootprint) string {
	switch {
	case after.hostGoroutines > f.hostGoroutines:
		return fmt.Sprintf("the host has %d goroutines, and had %d\n%s", after.hostGoroutines, f.hostGoroutines, stacks())
	case after.pluginGoroutines > f.pluginGoroutines:
		return fmt.Sprintf("the plugin has %d goroutines, and had %d", after.pluginGoroutines, f.pluginGoroutines)
	case after.hostHeap > f.hostHeap+maxHeapGrowth:
		return fmt.Sprintf("the host's heap has %d bytes, and had %d", after.hostHeap, f.hostHeap)
	case after.pluginHeap > f.pluginHeap+maxHeapGrowth:
		return fmt.Sprintf("the plugin's heap has %d bytes, and had %d", after.pluginHeap, f.pluginHeap)
	}
	return cmp.Diff(f, after, cmp.FilterPath(func(p cmp.Path) bool {
		field, ok := p.Last().(cmp.StructField)
		return ok && field.Name()[0] >= 'a'
	}, cmp.Ignore()))
}
