package pw

import (
	"context"
	"reflect"
	"testing"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
)

// Calls in a row with the same metadata share what was parsed. A handler or a caller that
// changes its own metadata must not change that of another call.
func TestMetadataOfCallsInARow(t *testing.T) {
	t.Parallel()
	seen := make(chan metadata.MD, 1)
	p := connect(t, &service{empty: func(ctx context.Context) error {
		md, _ := metadata.FromIncomingContext(ctx)
		seen <- md.Copy()
		md["key"][0] = "changed"
		md["added"] = []string{"added"}
		delete(md, authorityKey)
		metadata.ValueFromIncomingContext(ctx, "key")[0] = "changed"
		return grpc.SetHeader(ctx, metadata.Pairs("answer", "1", "answer", "2", "last", "3"))
	}}, &service{})
	var before, wantBefore metadata.MD
	for _, kv := range [][]string{{"key", "1"}, {"key", "1"}, {"key", "2"}, {"key", ""}, {"key", ""}, {"key", "2", "key", "3"}, {"key", "1"}} {
		var header metadata.MD
		ctx := metadata.AppendToOutgoingContext(bounded(t), kv...)
		if _, err := p.toPlugin.EmptyCall(ctx, &testpb.Empty{}, grpc.Header(&header)); err != nil {
			t.Fatal(err)
		}
		want := metadata.Pairs(append([]string{authorityKey, authority, contentTypeKey, contentType("")}, kv...)...)
		if got := receive(t, "the handler", seen); !reflect.DeepEqual(got, want) {
			t.Errorf("the handler of a call with %q got %q, want %q", kv, got, want)
		}
		want = metadata.Pairs("answer", "1", "answer", "2", "last", "3", contentTypeKey, contentType(""))
		if !reflect.DeepEqual(header, want) {
			t.Errorf("the caller got %q, want %q", header, want)
		}
		if !reflect.DeepEqual(before, wantBefore) {
			t.Errorf("the header of the call before is %q now, want %q", before, wantBefore)
		}
		for name := range header {
			header[name] = append(header[name], "appended")
			header[name][0] = "changed"
		}
		before, wantBefore = header, header.Copy()
	}
}
