package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/transport/unix"
)

// TestMain makes this program the provider if a host has started it.
func TestMain(m *testing.M) {
	if os.Getenv(cookieName) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// hang bounds each wait. Nothing is expected to take this long.
const hang = time.Minute

// command starts this program as the provider.
func command(t *testing.T) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(self)
}

// lockedBuffer is a buffer that is read while it is written.
type lockedBuffer struct {
	mu     sync.Mutex // guards buffer
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// launch starts the provider under a Plugwire host, which knows the protocol's name only.
func launch(t *testing.T, log *lockedBuffer) *host.Plugin {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	p, err := host.Launch(ctx, command(t),
		host.WithProtocols(protocol.New(protocolName, protocolVersion)),
		host.WithTransports(unix.New()),
		host.WithCookie(cookieName, cookieValue),
		host.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// call calls a method of the provider by its name. Its messages are in an internal
// package of terraform-plugin-go.
func call(ctx context.Context, cc grpc.ClientConnInterface, method string) (protoreflect.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, hang)
	defer cancel()
	req, err := newMessage(method + ".Request")
	if err != nil {
		return nil, err
	}
	resp, err := newMessage(method + ".Response")
	if err != nil {
		return nil, err
	}
	return resp.ProtoReflect(), cc.Invoke(ctx, "/tfplugin6.Provider/"+method, req, resp)
}

func newMessage(name string) (proto.Message, error) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName("tfplugin6." + name))
	if err != nil {
		return nil, err
	}
	return t.New().Interface(), nil
}

// checkMetadata calls the provider and checks the answer.
func checkMetadata(ctx context.Context, cc grpc.ClientConnInterface) error {
	resp, err := call(ctx, cc, "GetMetadata")
	if err != nil {
		return err
	}
	if text := fmt.Sprint(resp.Interface()); !strings.Contains(text, "weather_station") {
		return fmt.Errorf("the metadata is %s", text)
	}
	return nil
}

// Handlers that registered themselves are served like others: by the handle and by the
// real connection, with interceptors, and with a panic that ends one call only.
func TestUnderPlugwire(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	p := launch(t, &log)
	if err := checkMetadata(t.Context(), p); err != nil {
		t.Error(err)
	}
	conn, err := p.ClientConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := checkMetadata(t.Context(), conn); err != nil {
		t.Error(err)
	}
	if _, err := call(t.Context(), p, "GetProviderSchema"); status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "the schema is lost") {
		t.Errorf("a panic: %v", err)
	}
	services, err := p.Services(t.Context())
	if err != nil || len(services) != 1 || services[0].Name != "tfplugin6.Provider" || services[0].Descriptor() == nil {
		t.Errorf("services %v, %v", services, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if text := log.String(); !strings.Contains(text, "method=/tfplugin6.Provider/GetMetadata") {
		t.Errorf("the interceptor did not run:\n%s", text)
	}
}

// A stop waits for the calls in flight.
func TestStopDrains(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	p := launch(t, &log)
	answered := make(chan error, 1)
	go func() {
		resp, err := call(t.Context(), p, "StopProvider")
		if err == nil && !strings.Contains(fmt.Sprint(resp.Interface()), "the plugin stops") {
			err = fmt.Errorf("answer %v", resp.Interface())
		}
		answered <- err
	}()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(hang); !strings.Contains(log.String(), "waiting for the stop"); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatal("the call did not begin")
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// Terraform is a host on go-plugin with AutoMTLS.
func TestUnderGoPlugin(t *testing.T) {
	t.Parallel()
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  goplugin.HandshakeConfig{MagicCookieKey: cookieName, MagicCookieValue: cookieValue},
		VersionedPlugins: map[int]goplugin.PluginSet{protocolVersion: {"provider": &clientPlugin{}}},
		Cmd:              command(t),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
	})
	defer client.Kill()
	rpc, err := client.Client()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := rpc.Dispense("provider")
	if err != nil {
		t.Fatal(err)
	}
	if err := checkMetadata(t.Context(), raw.(*grpc.ClientConn)); err != nil {
		t.Error(err)
	}
	if client.NegotiatedVersion() != protocolVersion {
		t.Errorf("version %d", client.NegotiatedVersion())
	}
}

// clientPlugin dispenses the connection itself.
type clientPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (*clientPlugin) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error { return nil }

func (*clientPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}
