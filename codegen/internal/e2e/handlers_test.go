package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	housepb "github.com/plugwire/plugwire/codegen/internal/e2e/house"
	"github.com/plugwire/plugwire/codegen/internal/e2e/multi"
	"github.com/plugwire/plugwire/codegen/internal/e2e/named"
	"github.com/plugwire/plugwire/codegen/internal/e2e/runtime"
	"github.com/plugwire/plugwire/codegen/internal/e2e/versions"
	"github.com/plugwire/plugwire/codegen/internal/e2e/words"
)

// editor serves words.Editor.
type editor struct{}

func (*editor) Count(_ context.Context, text *words.Text) (*words.Number, error) {
	return &words.Number{Number: int64(len(strings.Fields(text.GetText())))}, nil
}

func (e *editor) Size(ctx context.Context, text *words.Text) (*words.Number, error) {
	return e.Count(ctx, text)
}

func (*editor) Whose(context.Context, *emptypb.Empty) (*multi.User, error) {
	return &multi.User{Name: "nobody"}, nil
}

func (*editor) Split(text *words.Text, stream grpc.ServerStreamingServer[words.Text]) error {
	for word := range strings.FieldsSeq(text.GetText()) {
		if err := stream.Send(&words.Text{Text: &word}); err != nil {
			return err
		}
	}
	return nil
}

func (*editor) Join(stream grpc.ClientStreamingServer[words.Text, words.Text]) error {
	var all []string
	for {
		text, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			joined := strings.Join(all, " ")
			return stream.SendAndClose(&words.Text{Text: &joined})
		}
		if err != nil {
			return err
		}
		all = append(all, text.GetText())
	}
}

func (*editor) Echo(stream grpc.BidiStreamingServer[words.Text, words.Text]) error {
	return echo(stream)
}

// echo sends back every message that it receives.
func echo[T any](stream grpc.BidiStreamingServer[T, T]) error {
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(message); err != nil {
			return err
		}
	}
}

// usersAndData serves both services of multi.
type usersAndData struct{}

func (*usersAndData) GetUser(_ context.Context, user *multi.User) (*multi.User, error) {
	return user, nil
}

func (*usersAndData) Store(stream grpc.ClientStreamingServer[multi.Data, multi.Data]) error {
	var all bytes.Buffer
	for {
		data, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&multi.Data{Data: all.Bytes()})
		}
		if err != nil {
			return err
		}
		all.Write(data.GetData())
	}
}

// processor serves all versions of versions.
type processor struct{}

func (processor) Process(_ context.Context, work *versions.Work) (*versions.Work, error) {
	return work, nil
}

func (processor) Batch(stream grpc.BidiStreamingServer[versions.Work, versions.Work]) error {
	return echo(stream)
}

// getter serves every service of named.
type getter struct{}

func (getter) Get(_ context.Context, key *named.Key) (*named.Key, error) { return key, nil }

// library serves every service of house.
type library struct{}

func (*library) GetBook(_ context.Context, book *housepb.Book) (*housepb.Book, error) {
	return book, nil
}

func (*library) Keep(_ context.Context, book *housepb.Book) (*housepb.Book, error) { return book, nil }

func (*library) Lend(_ context.Context, book *housepb.Book) (*housepb.Book, error) { return book, nil }

func (*library) Search(book *housepb.Book, stream grpc.ServerStreamingServer[housepb.Book]) error {
	return stream.Send(book)
}

// containers serves every service of runtime.
type containers struct{}

func (containers) Version(_ context.Context, r *runtime.VersionRequest) (*runtime.VersionResponse, error) {
	return &runtime.VersionResponse{Version: r.GetVersion()}, nil
}

func (containers) Status(context.Context, *runtime.Empty) (*runtime.RuntimeHandler, error) {
	return &runtime.RuntimeHandler{Name: "runc"}, nil
}

func (containers) ListImages(context.Context, *runtime.Empty) (*runtime.ImageServiceHandler, error) {
	return &runtime.ImageServiceHandler{Images: []string{"busybox"}}, nil
}

func (containers) ServeImageService(context.Context, *runtime.Empty) (*runtime.Empty, error) {
	return &runtime.Empty{}, nil
}

func (containers) EventsHandler(_ *runtime.Empty, stream grpc.ServerStreamingServer[runtime.Empty]) error {
	return stream.Send(&runtime.Empty{})
}
