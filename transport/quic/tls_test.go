package quic_test

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/quic"
)

// On both sides the error names a TLS configuration that QUIC cannot use, before
// anything is sent.
func TestOldTLS(t *testing.T) {
	t.Parallel()
	cfg := &tls.Config{MaxVersion: tls.VersionTLS12}
	_, listenErr := quic.New().Listen(t.Context(), transport.ListenConfig{Version: 1, TLS: cfg})
	_, dialErr := quic.New().Dial(t.Context(), transport.DialConfig{Version: 1, Address: "127.0.0.1:1", TLS: cfg})
	for side, err := range map[string]error{"Listen": listenErr, "Dial": dialErr} {
		if err == nil || !strings.Contains(err.Error(), "WithTLSConfig") || !strings.Contains(err.Error(), "at most TLS 1.2") {
			t.Errorf("%s: %v", side, err)
		}
	}
}
