//go:build unix

package e2e_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/protocol"
)

// TestAnyProtocol calls plugins of both frameworks as a tool does, which does not know
// what they serve.
func TestAnyProtocol(t *testing.T) {
	t.Parallel()
	own := echopb.EchoProtocol
	for _, tt := range []struct {
		name string
		p    *host.Plugin
		want string // the protocol's name
		says string // the protocol as text
	}{
		{name: "ours", p: launch(t, echoPlugin(), host.WithAnyProtocol()), want: own.Name(), says: own.String()},
		{name: "ours, one version", p: launch(t, echoPlugin(), host.WithAnyProtocol(7, own.Version())), want: own.Name(), says: own.String()},
		{name: "go-plugin", p: launch(t, command("goplugin-peer", "serve"), host.WithAnyProtocol()), says: "any/1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.p.Info(); got.Protocol != tt.want || got.Version != 1 {
				t.Errorf("protocol %q, version %d", got.Protocol, got.Version)
			}
			if got := tt.p.Protocol(); got.String() != tt.says || len(got.Services()) != 0 {
				t.Errorf("protocol %v with services %v", got, got.Services())
			}
			services, err := tt.p.Services(t.Context())
			if err != nil || len(services) != 1 {
				t.Errorf("services %v, %v", services, err)
			}
			reply, err := echopb.NewEchoClient(tt.p).Unary(testContext(t), payload("hello"))
			if err != nil || string(reply.GetData()) != "hello" {
				t.Errorf("%v, %v", reply, err)
			}
		})
	}
}

// TestAnyProtocolRefused checks the mistakes that a tool can still make.
func TestAnyProtocolRefused(t *testing.T) {
	t.Parallel()
	if err := startError(testContext(t), t, echoPlugin(), host.WithAnyProtocol(7)); !errors.Is(err, &handshake.Error{Code: handshake.CodeVersion}) {
		t.Errorf("%v, want no version in common", err)
	}
	for _, tt := range []struct {
		versions []int
		says     string
	}{
		{versions: []int{-1}, says: "host.WithAnyProtocol: protocol any: version -1"},
		{versions: make([]int, 65), says: "host.WithAnyProtocol: 65 versions are given, and a plugin reads only 64"},
	} {
		if err := startError(testContext(t), t, echoPlugin(), host.WithAnyProtocol(tt.versions...)); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v, want %q", err, tt.says)
		}
	}
	named := protocol.New("another", 1)
	if err := startError(testContext(t), t, echoPlugin(), host.WithAnyProtocol(), host.WithProtocols(named)); !errors.Is(err, &handshake.Error{Code: handshake.CodeProtocol}) {
		t.Errorf("%v: the option that was given last does not count", err)
	}
}
