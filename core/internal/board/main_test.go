package board

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(strangerReads); path != "" {
		readAsStranger(path)
		return
	}
	goleak.VerifyTestMain(m)
}

// strangerReads is the variable that makes this program a reader of another user, with the
// path of the socket.
const strangerReads = "BOARD_TEST_STRANGER"
