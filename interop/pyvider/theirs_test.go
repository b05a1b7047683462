//go:build unix

package pyvider_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// TestTheirPluginIsRefused starts plugins of theirs that do not fit our host.
// The error of our host has to name the reason.
func TestTheirPluginIsRefused(t *testing.T) {
	t.Parallel()
	newest := protocol.New("example", 8, &example.DataProcessor_ServiceDesc)
	for _, tt := range []struct {
		name string
		args []string
		env  []string
		opts []host.Option
		want string
	}{
		{name: "a transport that the host does not offer", args: []string{"unix"}, opts: []host.Option{host.WithTransports(tcp.New())}, want: "unix"},
		{name: "version 8 of a protocol", args: []string{"unix"}, opts: []host.Option{host.WithProtocols(newest)}, want: "Protocol version must be between 1 and 7"},
		{name: "another cookie", args: []string{"unix"}, opts: []host.Option{host.WithCookie(handshake.DefaultCookieName, "another")}, want: "Magic cookie mismatch"},
		{name: "plain tcp", args: []string{"tcp"}, env: []string{declineTLS}, opts: []host.Option{host.WithTransports(tcp.New())}, want: "host.WithPlaintext"},
		{name: "plain unix", args: []string{"unix"}, env: []string{declineTLS}, opts: []host.Option{host.WithMutualTLS()}, want: "mtls"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require(t)
			env := append(tt.env, "TMPDIR="+tempDir(t))
			p, err := host.Launch(testContext(t), theirPlugin(t, tt.args, env...), options(t, tt.opts...)...)
			if err == nil {
				_ = p.Close()
				t.Fatal("the plugin started")
			}
			if e, ok := errors.AsType[*host.StartError](err); !ok || e.Phase != host.PhaseHandshake || !strings.Contains(e.Error(), tt.want) {
				t.Errorf("%v; want it to say %q", err, tt.want)
			}
		})
	}
}

// TestTheirPluginVerifies connects a client that is not the plugin's host. Their
// plugin serves it, unless the plugin was given the certificate to ask for.
func TestTheirPluginVerifies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		args []string
		want codes.Code
	}{
		{name: "by default", args: []string{"tcp"}, want: codes.OK},
		{name: "with the host's certificate", args: []string{"tcp", "verify"}, want: codes.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require(t)
			var answer host.AnswerEvent
			trace := host.WithTrace(&host.Trace{Answer: func(e host.AnswerEvent) { answer = e }})
			p, err := host.Launch(testContext(t), theirPlugin(t, tt.args), options(t, host.WithTransports(unix.New(), tcp.New()), trace)...)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			leaf, err := x509.ParseCertificate(answer.Certificate)
			if err != nil {
				t.Fatal(err)
			}
			roots := x509.NewCertPool()
			roots.AddCert(leaf)
			conn, err := grpc.NewClient(answer.Address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12})))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := example.NewDataProcessorClient(conn).GetStatus(testContext(t), &example.StatusRequest{}); status.Code(err) != tt.want {
				t.Errorf("a client without a certificate: %v, want %v", err, tt.want)
			}
		})
	}
}
