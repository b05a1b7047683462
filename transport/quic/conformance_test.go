package quic_test

import (
	"testing"

	"github.com/plugwire/plugwire/core/transport/transporttest"
	"github.com/plugwire/plugwire/transport/quic"
)

func TestConformance(t *testing.T) {
	transporttest.Run(t, func() *quic.Transport { return quic.New() })
}
