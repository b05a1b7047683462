package differential

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	registerCodec()
	goleak.VerifyTestMain(m)
}
