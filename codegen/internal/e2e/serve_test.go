package e2e_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/codegen/internal/e2e/multi"
	"github.com/plugwire/plugwire/codegen/internal/e2e/words"
	"github.com/plugwire/plugwire/core/plugintest"
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
		t.Errorf("the echo ends with %v", err)
	}
}

func TestOneHandlerForAllServices(t *testing.T) {
	p := plugintest.Start(t, multi.ServeMulti(&usersAndData{}), unix.New())

	user, err := multi.NewUserServiceClient(p).GetUser(t.Context(), &multi.User{Name: "ada"})
	if err != nil || user.GetName() != "ada" {
		t.Errorf("GetUser = %v, %v", user, err)
	}

	//nolint:staticcheck // the service is deprecated to see that its mark is generated
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
