package pw

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	testpb "google.golang.org/grpc/interop/grpc_testing"
)

func hasHeadroom() bool { return headroom.memory.Load() != nil }

// dropsHeadroom runs the collector until there is no headroom. It reports false if that stays.
func dropsHeadroom() bool {
	for end := time.Now().Add(time.Minute); hasHeadroom() && time.Now().Before(end); {
		runtime.GC()
	}
	return !hasHeadroom()
}

func TestHeadroomIsForManyLargeMessages(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // the collector runs when the test says so
	if !dropsHeadroom() {                            // other tests have sent large messages
		t.Fatal("there is headroom though no large messages come")
	}
	headroom.come.Store(0)
	keepHeadroom(headroomAfter - 1)
	if hasHeadroom() {
		t.Error("there is headroom before it pays")
	}
	keepHeadroom(1)
	if !hasHeadroom() {
		t.Error("there is no headroom though many large messages come")
	}
	for range 10 {
		keepHeadroom(smallMessage + 1)
		collected()
	}
	if !hasHeadroom() {
		t.Error("the headroom was dropped while large messages come")
	}
	if !dropsHeadroom() {
		t.Error("the headroom stays when no large messages come any more")
	}
}

func TestHeadroomIsForManyMessagesOfAStream(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // the collector runs when the test says so
	if !dropsHeadroom() {
		t.Fatal("there is headroom though little comes")
	}
	headroom.come.Store(headroomAfter - headroomFrom)
	p := connect(t, &service{duplex: func(s duplex) error {
		for range headroomFrom / 1024 {
			if err := s.Send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: make([]byte, 1024)}}); err != nil {
				return err
			}
		}
		_, err := s.Recv() // the call goes on until its caller ends it
		return err
	}}, &service{})
	s, err := p.toPlugin.FullDuplexCall(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "all messages have come", func() bool {
		p.host.mu.Lock()
		defer p.host.mu.Unlock()
		for _, k := range p.host.made {
			return len(k.data) >= headroomFrom
		}
		return false
	})
	if hasHeadroom() {
		t.Error("there is headroom before it pays")
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	if !hasHeadroom() {
		t.Error("there is no headroom though many messages have come on a stream")
	}
}
