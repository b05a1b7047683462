package host

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/core/internal/exampletest/greeter"
	"github.com/plugwire/plugwire/core/transport"
)

// noRunner starts nothing.
type noRunner struct{}

func (noRunner) Start(context.Context, StartConfig) (Process, error) {
	return nil, errors.ErrUnsupported
}

// noTransport goes nowhere.
type noTransport struct{ transport.Transport }

func (noTransport) Name() string    { return "none" }
func (noTransport) Versions() []int { return []int{1} }

// meetOnly is a [NamedStreamInterceptor] that does nothing.
func meetOnly(ctx context.Context, _ NamedStream, meet func(ctx context.Context) (net.Conn, error)) (net.Conn, error) {
	return meet(ctx)
}

// everyOption is an argument for each option, so that a test can go through all pairs.
func everyOption(t *testing.T) map[string]Option {
	t.Helper()
	sum := sha256.Sum256(nil)
	return map[string]Option{
		"Options":                 Options(WithName("y"), WithStartTimeout(2)),
		"WithAnyProtocol":         WithAnyProtocol(1),
		"WithProtocols":           WithProtocols(greeter.GreeterProtocol),
		"WithTransports":          WithTransports(noTransport{}),
		"WithLogger":              WithLogger(slog.Default()),
		"WithStartTimeout":        WithStartTimeout(1),
		"WithInterceptors":        WithInterceptors(nil, nil),
		"WithServices":            WithServices(),
		"WithServiceInterceptors": WithServiceInterceptors(nil, nil),
		"WithStatsHandler":        WithStatsHandler(nil, nil),
		"WithNamedStreams":        WithNamedStreams(meetOnly),
		"WithStatus":              WithStatus(),
		"WithPortRange":           WithPortRange(1, 2),
		"WithMaxMessageSize":      WithMaxMessageSize(1000),
		"WithMaxCalls":            WithMaxCalls(1),
		"WithWire":                WithWire("h2"),
		"WithMaxBuffered":         WithMaxBuffered(1 << 40),
		"WithName":                WithName("x"),
		"WithCookie":              WithCookie("COOKIE", ""),
		"WithTLSConfig":           WithTLSConfig(&tls.Config{MinVersion: tls.VersionTLS13}),
		"WithMutualTLS":           WithMutualTLS(),
		"WithPlaintext":           WithPlaintext(),
		"WithoutCertificate":      WithoutCertificate(),
		"WithMultiplex":           WithMultiplex(),
		"WithStdin":               WithStdin(nil),
		"WithStdout":              WithStdout(io.Discard),
		"WithStderr":              WithStderr(io.Discard),
		"WithTrace":               WithTrace(&Trace{}),
		"WithRunner":              WithRunner(noRunner{}),
		"WithPrinted":             WithPrinted(io.Discard, nil),
		"WithTempDir":             WithTempDir(t.TempDir()),
		"WithDialOptions":         WithDialOptions(),
		"WithoutAttach":           WithoutAttach(),
		"WithSocketGroup":         WithSocketGroup("0"),
		"WithChecksum":            WithChecksum(crypto.SHA256, sum[:]),
	}
}

// contradicting are the pairs of options that contradict each other. Any other pair is
// accepted.
var contradicting = [][2]string{
	{"WithChecksum", "WithRunner"},
	{"WithMutualTLS", "WithPlaintext"},
	{"WithMutualTLS", "WithTLSConfig"},
	{"WithMutualTLS", "WithoutCertificate"},
	{"WithPlaintext", "WithTLSConfig"},
	{"WithRunner", "WithRunner"},
}

func TestPairsOfOptions(t *testing.T) {
	t.Parallel()
	options := everyOption(t)
	names := slices.Sorted(maps.Keys(options))
	if exported := exportedOptions(t); !slices.Equal(names, exported) {
		t.Errorf("the test knows %q, and the package has %q", names, exported)
	}
	for _, a := range names {
		for _, b := range names {
			_, err := newConfig("test", []Option{options["WithProtocols"], options["WithTransports"], options[a], options[b]})
			pair := [2]string{min(a, b), max(a, b)}
			switch contradict := slices.Contains(contradicting, pair); {
			case contradict && (err == nil || !strings.Contains(err.Error(), "host."+a) || !strings.Contains(err.Error(), "host."+b)):
				t.Errorf("%s with %s: %v, want an error that names both", a, b, err)
			case !contradict && err != nil:
				t.Errorf("%s with %s: %v", a, b, err)
			}
		}
	}
	small := []Option{options["WithProtocols"], options["WithTransports"], WithMaxBuffered(999)}
	for _, opts := range [][]Option{small, append(small, WithMaxMessageSize(1000))} {
		if _, err := newConfig("test", opts); err == nil || !strings.Contains(err.Error(), "host.WithMaxBuffered and host.WithMaxMessageSize") {
			t.Errorf("a buffer that is smaller than a message: %v", err)
		}
	}
	if _, err := newConfig("test", append(small, WithMaxMessageSize(999))); err != nil {
		t.Errorf("a buffer for one message: %v", err)
	}
}

// exportedOptions returns the names of the functions of this package that return an
// Option, in order.
func exportedOptions(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !f.Name.IsExported() || f.Type.Results == nil || len(f.Type.Results.List) != 1 {
				continue
			}
			if result, ok := f.Type.Results.List[0].Type.(*ast.Ident); ok && result.Name == "Option" {
				names = append(names, f.Name.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}
