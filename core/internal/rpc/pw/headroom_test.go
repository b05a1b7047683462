package pw

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestHeadroomIsForManyLargeMessages(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // the collector runs when the test says so
	has := func() bool { return headroom.memory.Load() != nil }
	gone := func() bool {
		for end := time.Now().Add(time.Minute); has() && time.Now().Before(end); {
			runtime.GC()
		}
		return !has()
	}
	if !gone() { // other tests have sent large messages
		t.Fatal("there is headroom though no large messages come")
	}
	headroom.come.Store(0)
	keepHeadroom(headroomAfter - 1)
	if has() {
		t.Error("there is headroom before it pays")
	}
	keepHeadroom(1)
	if !has() {
		t.Error("there is no headroom though many large messages come")
	}
	for range 10 {
		keepHeadroom(smallMessage + 1)
		collected()
	}
	if !has() {
		t.Error("the headroom was dropped while large messages come")
	}
	if !gone() {
		t.Error("the headroom stays when no large messages come any more")
	}
}
