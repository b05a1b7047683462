package pw

import "testing"

func TestHeadroomIsForManyLargeMessages(t *testing.T) {
	largeBytes.Store(0)
	for headroom.Get() != nil { // another test's
	}
	keepHeadroom(headroomAfter)
	if headroom.Get() != nil {
		t.Error("there is headroom before it pays")
	}
	for range 100 { // under the race detector the pool drops some
		keepHeadroom(headroomAfter)
	}
	for range 100 {
		if headroom.Get() != nil {
			return
		}
		keepHeadroom(headroomAfter + 1)
	}
	t.Error("there is no headroom though many large messages come")
}
