//go:build unix

package socketpair_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/plugwire/plugwire/core/transport/transporttest"
	"github.com/plugwire/plugwire/examples/socketpair"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) { transporttest.Run(t, socketpair.New) }
