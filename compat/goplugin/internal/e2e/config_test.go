package plugin_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"hash"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/compat/goplugin"
)

func TestHandshakeConfig(t *testing.T) {
	t.Parallel()
	cfg := config(t, "plain")
	cfg.MagicCookieValue = "no"
	var stderr buffer
	cfg.Stderr = &stderr
	c := plugin.NewClient(cfg)
	_, err := c.Client()
	if err == nil || !strings.Contains(stderr.String(), "This binary is a plugin.") {
		t.Errorf("another cookie: %v, %q", err, stderr.String())
	}
	if !c.Exited() || c.Protocol() != plugin.ProtocolInvalid || c.ReattachConfig() != nil || c.ID() != "" {
		t.Error("a client without a plugin")
	}
	cfg = config(t, "version0")
	cfg.ProtocolVersion = 0
	c, d := start(t, cfg)
	check(t, d, "echo:works", "works")
	if c.NegotiatedVersion() != 0 {
		t.Errorf("version %d", c.NegotiatedVersion())
	}
}

// TestVersionedPlugins negotiates the highest version that both sides have.
func TestVersionedPlugins(t *testing.T) {
	t.Parallel()
	cfg := config(t, "versions")
	cfg.ProtocolVersion = 2
	cfg.Plugins = plugin.PluginSet{"test": testPlugin{version: 2}}
	cfg.VersionedPlugins = map[int]plugin.PluginSet{3: {"test": testPlugin{version: 3}}, 9: {"test": testPlugin{version: 9}}}
	c, d := start(t, cfg)
	check(t, d, "version", "3")
	if d.version != 3 || c.NegotiatedVersion() != 3 {
		t.Errorf("the host's side is of version %d, and %d was negotiated", d.version, c.NegotiatedVersion())
	}
	cfg = config(t, "versions")
	cfg.VersionedPlugins = map[int]plugin.PluginSet{9: {"test": testPlugin{version: 9}}}
	_, err := plugin.NewClient(cfg).Client()
	if err == nil || !strings.Contains(err.Error(), "incompatible API version with plugin. Plugin version: 2, Client versions: [1 9]") {
		t.Errorf("no common version: %v", err)
	}
}

// TestCmd starts what the command describes, and shows it the process.
func TestCmd(t *testing.T) {
	t.Parallel()
	cfg := config(t, "plain")
	c, d := start(t, cfg)
	check(t, d, "echo:works", "works")
	if cfg.Cmd.Process == nil || c.ReattachConfig().Pid != cfg.Cmd.Process.Pid {
		t.Errorf("the process of the command: %v", cfg.Cmd.Process)
	}
	if addr, err := c.Start(); err != nil || addr.String() != c.ReattachConfig().Addr.String() {
		t.Errorf("started again: %v, %v", addr, err)
	}
	for _, broken := range []func(*plugin.ClientConfig){
		func(cfg *plugin.ClientConfig) { cfg.Cmd = nil },
		func(cfg *plugin.ClientConfig) { cfg.Reattach = &plugin.ReattachConfig{} },
		func(cfg *plugin.ClientConfig) { cfg.Cmd.Stdout = os.Stdout },
		func(cfg *plugin.ClientConfig) { cfg.Cmd.Path = "/nothing" },
		func(cfg *plugin.ClientConfig) { cfg.Plugins = nil },
	} {
		cfg := config(t, "plain")
		broken(cfg)
		if _, err := plugin.NewClient(cfg).Client(); err == nil {
			t.Error("a broken configuration starts")
		}
	}
}

// TestCommandContext ends a plugin with the context of its command.
func TestCommandContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cfg := config(t, "plain")
	cfg.Cmd = commandContext(ctx, cfg.Cmd)
	_, d := start(t, cfg)
	check(t, d, "echo:works", "works")
	cancel()
	select {
	case <-d.ctx.Done():
	case <-time.After(hang):
		t.Error("the plugin runs on")
	}
}

func TestStartTimeout(t *testing.T) {
	t.Parallel()
	cfg := config(t, "mute")
	cfg.StartTimeout = 300 * time.Millisecond
	_, err := plugin.NewClient(cfg).Client()
	if err == nil || !strings.HasPrefix(err.Error(), "timeout while waiting for plugin to start") {
		t.Error(err)
	}
}

// TestFailedStarts compares the beginnings of errors with those of go-plugin.
func TestFailedStarts(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"exits":   "plugin exited before we could connect",
		"netrpc":  `unsupported plugin protocol "netrpc". Supported: [grpc]`,
		"nothing": "plugin exited before we could connect",
	} {
		_, err := plugin.NewClient(config(t, name)).Client()
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAllowedProtocols(t *testing.T) {
	t.Parallel()
	for _, allowed := range [][]plugin.Protocol{nil, {plugin.ProtocolNetRPC}} {
		cfg := config(t, "plain")
		cfg.AllowedProtocols = allowed
		_, err := plugin.NewClient(cfg).Client()
		if err == nil || !strings.HasPrefix(err.Error(), `unsupported plugin protocol "grpc". Supported: [netrpc]`) {
			t.Errorf("%v: %v", allowed, err)
		}
	}
}

// TestSecureConfig verifies programs with any hash.
func TestSecureConfig(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []hash.Hash{sha256.New(), md5.New()} {
		h.Write(program)
		sum := h.Sum(nil)
		cfg := config(t, "plain")
		cfg.SecureConfig = &plugin.SecureConfig{Checksum: sum, Hash: h} // used before
		_, d := start(t, cfg)
		check(t, d, "echo:works", "works")
		cfg = config(t, "plain")
		cfg.SecureConfig = &plugin.SecureConfig{Checksum: append([]byte{1}, sum[1:]...), Hash: h}
		if sum[0] == 1 {
			cfg.SecureConfig.Checksum[0] = 2
		}
		if _, err := plugin.NewClient(cfg).Client(); !errors.Is(err, plugin.ErrChecksumsDoNotMatch) {
			t.Errorf("another checksum: %v", err)
		}
	}
	for want, broken := range map[error]plugin.SecureConfig{
		plugin.ErrSecureConfigNoChecksum: {Hash: sha256.New()},
		plugin.ErrSecureConfigNoHash:     {Checksum: []byte{1}},
	} {
		if _, err := broken.Check(self); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	cfg := config(t, "plain")
	cfg.Cmd, cfg.Reattach, cfg.SecureConfig = nil, &plugin.ReattachConfig{}, &plugin.SecureConfig{}
	if _, err := plugin.NewClient(cfg).Client(); !errors.Is(err, plugin.ErrSecureConfigAndReattach) {
		t.Error(err)
	}
}

// TestTLSConfig gives both sides TLS of their own.
func TestTLSConfig(t *testing.T) {
	t.Setenv("COMPAT_TEST_CERT", makeCertificate(t))
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(os.Getenv("COMPAT_TEST_CERT"))) {
		t.Fatal("no certificate")
	}
	cfg := config(t, "tls")
	cfg.TLSConfig = &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}
	_, d := start(t, cfg)
	check(t, d, "echo:works", "works")
	cfg = config(t, "tls") // without
	if _, err := plugin.NewClient(cfg).Client(); err == nil {
		t.Error("a host without TLS can connect")
	}
}

func TestAutoMTLS(t *testing.T) {
	t.Parallel()
	cfg := config(t, "plain")
	cfg.AutoMTLS = true
	_, d := start(t, cfg)
	if cert, err := do(d, "env:PLUGIN_CLIENT_CERT"); err != nil || !strings.HasPrefix(cert, "-----BEGIN CERTIFICATE-----") {
		t.Errorf("%q, %v", cert, err)
	}
	_, d = start(t, config(t, "plain"))
	check(t, d, "env:PLUGIN_CLIENT_CERT", "")
}

func TestPorts(t *testing.T) {
	t.Parallel()
	for _, ports := range [][2]uint{{0, 0}, {4000, 4010}} {
		cfg := config(t, "plain")
		cfg.MinPort, cfg.MaxPort = ports[0], ports[1]
		_, d := start(t, cfg)
		if ports[1] == 0 {
			check(t, d, "env:PLUGIN_MIN_PORT", "10000")
			check(t, d, "env:PLUGIN_MAX_PORT", "25000")
			continue
		}
		check(t, d, "env:PLUGIN_MIN_PORT", "4000")
		check(t, d, "env:PLUGIN_MAX_PORT", "4010")
	}
}

// TestManaged ends the plugins that are managed, and only those.
func TestManaged(t *testing.T) {
	cfg := config(t, "plain")
	cfg.Managed = true
	managed, d := start(t, cfg)
	other, _ := start(t, config(t, "plain"))
	plugin.CleanupClients()
	plugin.CleanupClients() // go-plugin's must be called once
	if !managed.Exited() || other.Exited() || d.ctx.Err() == nil || atomic.LoadUint32(&plugin.Killed) != 1 {
		t.Errorf("managed %t, other %t", managed.Exited(), other.Exited())
	}
}

// TestOutput tells what a plugin prints from what its process writes.
func TestOutput(t *testing.T) {
	t.Parallel()
	var stderr, syncOut, syncErr buffer
	cfg := config(t, "plain")
	cfg.Stderr, cfg.SyncStdout, cfg.SyncStderr = &stderr, &syncOut, &syncErr
	c, d := start(t, cfg)
	check(t, d, "print:printed\n", "")
	check(t, d, "raw:raw\n", "")
	syncOut.await(t, "printed\n")
	syncErr.await(t, "stderr printed\n")
	stderr.await(t, "raw\n")
	c.Kill()
	if syncOut.String() != "printed\n" || syncErr.String() != "stderr printed\n" || strings.Contains(stderr.String(), "printed") {
		t.Errorf("SyncStdout %q, SyncStderr %q, Stderr %q", syncOut.String(), syncErr.String(), stderr.String())
	}
}

// TestLogger logs the plugin's lines with their levels and fields, whatever their length.
func TestLogger(t *testing.T) {
	t.Parallel()
	var log buffer
	cfg := config(t, "plain")
	cfg.PluginLogBufferSize = 16
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Info, JSONFormat: true, Name: "host"})
	c, d := start(t, cfg)
	long := strings.Repeat("x", 100000)
	check(t, d, `raw:{"@level":"warn","@message":"careful","@timestamp":"2026-01-01T00:00:00.000000Z","detail":"`+long+"\"}\n[ERROR] broken\n[DEBUG] hidden\n", "")
	log.await(t, "broken")
	c.Kill()
	for _, want := range []string{`"@level":"warn"`, `"@message":"careful"`, `"detail":"` + long + `"`, `"@level":"error"`, `"@module":"host.`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%.50s is missing", want)
		}
	}
	if strings.Contains(log.String(), "hidden") {
		t.Error("a line below the level is logged")
	}
}

func TestGRPCDialOptions(t *testing.T) {
	t.Parallel()
	cfg := config(t, "plain")
	cfg.GRPCDialOptions = []grpc.DialOption{grpc.WithUserAgent("a test")}
	_, d := start(t, cfg)
	if agent, err := do(d, "agent"); err != nil || !strings.HasPrefix(agent, "a test") {
		t.Errorf("%q, %v", agent, err)
	}
}

// TestEnvironment compares the environment with go-plugin's. What a command sets counts more
// than what the host has.
func TestEnvironment(t *testing.T) {
	t.Setenv("COMPAT_TEST_HOST", "host")
	t.Setenv("COMPAT_TEST_BOTH", "host")
	t.Setenv("PLUGIN_CLIENT_CERT", "of the host's own host")
	for _, tt := range []struct {
		skip             bool
		keep, host, both string
	}{
		{host: "host", both: "command"},
		{skip: true, both: "command"},
		{keep: "hostenv", host: "host", both: "host"},
	} {
		t.Setenv("PLUGWIRE_GOPLUGIN_KEEP", tt.keep)
		cfg := config(t, "plain")
		cfg.SkipHostEnv = tt.skip
		cfg.Cmd.Env = append(cfg.Cmd.Env, "COMPAT_TEST_BOTH=command", "PLUGIN_MULTIPLEX_GRPC=true")
		_, d := start(t, cfg)
		check(t, d, "env:COMPAT_TEST_HOST", tt.host)
		check(t, d, "env:COMPAT_TEST_BOTH", tt.both)
		check(t, d, "env:PLUGIN_CLIENT_CERT", "")
		check(t, d, "env:PLUGIN_MULTIPLEX_GRPC", "")
	}
}

// TestUnixSocketConfig says where sockets are.
func TestUnixSocketConfig(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such sockets here")
	}
	dir, err := os.MkdirTemp("", "") //nolint:usetesting // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg := config(t, "plain")
	cfg.UnixSocketConfig = &plugin.UnixSocketConfig{TempDir: dir, Group: groupOfThis()}
	c, d := start(t, cfg)
	check(t, d, "env:"+plugin.EnvUnixSocketGroup, groupOfThis())
	if sockets, err := do(d, "env:"+plugin.EnvUnixSocketDir); err != nil || !strings.HasPrefix(sockets, dir) {
		t.Errorf("%q, %v", sockets, err)
	}
	addr, err := c.Start()
	if err != nil || !strings.HasPrefix(addr.String(), dir) {
		t.Errorf("%v, %v", addr, err)
	}
	c.Kill()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	// A command can name the directory too.
	own := filepath.Join(dir, "own")
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	cfg = config(t, "plain")
	cfg.Cmd.Env = append(cfg.Cmd.Env, plugin.EnvUnixSocketDir+"="+own)
	c, d = start(t, cfg)
	check(t, d, "echo:works", "works")
	if addr, err := c.Start(); err != nil || filepath.Dir(addr.String()) != own {
		t.Errorf("%v, %v", addr, err)
	}
}

// makeCertificate returns a certificate and its key.
func makeCertificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
}

// pluginTLS is the plugin's side.
func pluginTLS() (*tls.Config, error) {
	text := []byte(os.Getenv("COMPAT_TEST_CERT"))
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, nil
}
