package e2e_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	housepb "github.com/plugwire/plugwire/codegen/internal/e2e/house"
	"github.com/plugwire/plugwire/codegen/internal/e2e/multi"
	"github.com/plugwire/plugwire/codegen/internal/e2e/runtime"
	"github.com/plugwire/plugwire/codegen/internal/e2e/words"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/transport/unix"
)

func TestEveryKindOfMethod(t *testing.T) {
	client := words.NewEditorClient(plugintest.Start(t, words.ServeEditor(&editor{}), unix.New()))
	ctx := t.Context()
	text := "every word counts"

	number, err := client.Count(ctx, &words.Text{Text: &text})
	if err != nil || number.GetNumber() != 3 {
		t.Errorf("Count = %v, %v", number, err)
	}

	split, err := client.Split(ctx, &words.Text{Text: &text})
	if err != nil {
		t.Fatal(err)
	}
	join, err := client.Join(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for {
		word, err := split.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := join.Send(word); err != nil {
			t.Fatal(err)
		}
	}
	if joined, err := join.CloseAndRecv(); err != nil || joined.GetText() != text {
		t.Errorf("joined %v, %v", joined, err)
	}

	echo, err := client.Echo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for word := range strings.FieldsSeq(text) {
		if err := echo.Send(&words.Text{Text: &word}); err != nil {
			t.Fatal(err)
		}
		if back, err := echo.Recv(); err != nil || back.GetText() != word {
			t.Errorf("echo of %q: %v, %v", word, back, err)
		}
	}
	if err := echo.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := echo.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("echo ended with %v, want EOF", err)
	}
}

func TestOneHandlerForAllServices(t *testing.T) {
	p := plugintest.Start(t, multi.ServeMulti(&usersAndData{}), unix.New())

	user, err := multi.NewUserServiceClient(p).GetUser(t.Context(), &multi.User{Name: "ada"})
	if err != nil || user.GetName() != "ada" {
		t.Errorf("GetUser = %v, %v", user, err)
	}

	//nolint:staticcheck // the service is deprecated to test its mark in generated code
	store, err := multi.NewDataServiceClient(p).Store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"a", "bc"} {
		if err := store.Send(&multi.Data{Data: []byte(part)}); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := store.CloseAndRecv(); err != nil || string(all.GetData()) != "abc" {
		t.Errorf("Store = %v, %v", all, err)
	}
}

// TestServicesOfSeveralFiles serves a protocol with services in several files. The
// search service is optional, and the payment service does not belong to the protocol.
func TestServicesOfSeveralFiles(t *testing.T) {
	for _, tt := range []struct {
		binding protocol.Binding
		search  codes.Code
	}{
		{housepb.ServeHouse(&library{}), codes.Unimplemented},
		{protocol.Join(housepb.ServeHouse(&library{}), housepb.ServeSearchService(&library{})), codes.OK},
	} {
		p := plugintest.Start(t, tt.binding, unix.New())
		book := &housepb.Book{Name: "Moby Dick"}
		if got, err := housepb.NewLibraryServiceClient(p).GetBook(t.Context(), book); err != nil || got.GetName() != book.GetName() {
			t.Errorf("GetBook = %v, %v", got, err)
		}
		if got, err := housepb.NewLendingServiceClient(p).Lend(t.Context(), book); err != nil || got.GetName() != book.GetName() {
			t.Errorf("Lend = %v, %v", got, err)
		}
		found, err := housepb.NewSearchServiceClient(p).Search(t.Context(), book)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := found.Recv(); status.Code(err) != tt.search {
			t.Errorf("Search: %v, want %s", err, tt.search)
		}
		if _, err := housepb.NewPaymentServiceClient(p).Pay(t.Context(), book); status.Code(err) != codes.Unimplemented {
			t.Errorf("Pay: %v", err)
		}
	}
}

// TestTakenNames calls services whose generated names differ, because the file declares
// the usual names. The plugin has two protocols and serves the host's.
func TestTakenNames(t *testing.T) {
	both := protocol.Join(housepb.ServeHouse(&library{}), runtime.ServeRuntimeServices2(containers{}))
	p := plugintest.Start(t, both, unix.New(), host.WithProtocols(runtime.RuntimeServices2Protocol))
	if got, err := runtime.NewImageServiceClient(p).ListImages(t.Context(), &runtime.Empty{}); err != nil || len(got.GetImages()) != 1 {
		t.Errorf("ListImages = %v, %v", got, err)
	}
	events, err := runtime.NewEventsClient(p).EventsHandler(t.Context(), &runtime.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := events.Recv(); err != nil {
		t.Errorf("EventsHandler: %v", err)
	}
	if _, err := housepb.NewLibraryServiceClient(p).GetBook(t.Context(), &housepb.Book{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("a service of the other protocol: %v, want Unimplemented", err)
	}
}
