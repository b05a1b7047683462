package plugin

import (
	"context"
	"crypto/tls"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// meetOnly is a [NamedStreamInterceptor] that does nothing.
func meetOnly(ctx context.Context, _ NamedStream, meet func(ctx context.Context) (net.Conn, error)) (net.Conn, error) {
	return meet(ctx)
}

// TestPairsOfOptions gives each pair of options. Only pairs that contradict each other are
// an error, which names both.
func TestPairsOfOptions(t *testing.T) {
	t.Parallel()
	options := map[string]Option{
		"Options":              Options(WithMaxCalls(2), WithInterceptors(nil, nil)),
		"WithTransports":       WithTransports(),
		"WithLogger":           WithLogger(slog.Default()),
		"WithLogHandler":       WithLogHandler(func(h slog.Handler) slog.Handler { return h }),
		"WithInterceptors":     WithInterceptors(nil, nil),
		"WithHostInterceptors": WithHostInterceptors(nil, nil),
		"WithMaxMessageSize":   WithMaxMessageSize(1000),
		"WithMaxCalls":         WithMaxCalls(1),
		"WithWire":             WithWire("h2"),
		"WithMaxBuffered":      WithMaxBuffered(1 << 40),
		"WithCookie":           WithCookie("COOKIE", ""),
		"WithTLSConfig":        WithTLSConfig(&tls.Config{MinVersion: tls.VersionTLS13}),
		"WithStatsHandler":     WithStatsHandler(nil, nil),
		"WithNamedStreams":     WithNamedStreams(meetOnly),
		"OnReady":              OnReady(func(context.Context) error { return nil }),
		"OnShutdown":           OnShutdown(func(context.Context) error { return nil }),
		"IgnoresSIGTERM":       IgnoresSIGTERM(),
		"AsGoPlugin":           AsGoPlugin(),
		"OutlivesHost":         OutlivesHost(),
		"WithLookupEnv":        WithLookupEnv(os.LookupEnv),
		"WithStacks":           WithStacks(nil),
		"WithAnswerWriter":     WithAnswerWriter(io.Discard),
		"WithPrinted":          WithPrinted(nil, nil),
	}
	names := slices.Sorted(maps.Keys(options))
	if exported := exportedOptions(t); !slices.Equal(names, exported) {
		t.Errorf("the test knows %q, and the package has %q", names, exported)
	}
	once := []string{"WithAnswerWriter", "WithLookupEnv"}
	for _, a := range names {
		for _, b := range names {
			_, err := newConfig([]Option{options[a], options[b]})
			switch contradict := a == b && slices.Contains(once, a); {
			case contradict && (err == nil || !strings.Contains(err.Error(), "plugin."+a+" is given twice")):
				t.Errorf("%s twice: %v", a, err)
			case !contradict && err != nil:
				t.Errorf("%s with %s: %v", a, b, err)
			}
		}
	}
	small := WithMaxBuffered(999)
	for _, opts := range [][]Option{{small}, {small, WithMaxMessageSize(1000)}} {
		if _, err := newConfig(opts); err == nil || !strings.Contains(err.Error(), "plugin.WithMaxBuffered and plugin.WithMaxMessageSize") {
			t.Errorf("a buffer that is smaller than a message: %v", err)
		}
	}
	if _, err := newConfig([]Option{small, WithMaxMessageSize(999)}); err != nil {
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
