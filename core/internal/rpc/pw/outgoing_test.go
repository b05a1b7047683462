package pw

import (
	"context"
	"reflect"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// A call reads what package metadata keeps in a context. The test fails if a new grpc keeps
// something else: then each call copies its metadata.
func TestOutgoing(t *testing.T) {
	t.Parallel()
	if rawOutgoing() == nil {
		t.Error("package metadata keeps outgoing metadata in a type that this package does not know")
	}
	none := context.Background()
	md := metadata.MD{"a": {"1", "2"}, "b-bin": {"\x00"}, "empty": {}}
	for name, ctx := range map[string]context.Context{
		"none":       none,
		"a map":      metadata.NewOutgoingContext(none, md),
		"pairs":      metadata.AppendToOutgoingContext(none, "A", "1", "b", "2", "a", "3"),
		"both":       metadata.AppendToOutgoingContext(metadata.NewOutgoingContext(none, md), "a", "3", "c", "4"),
		"both twice": metadata.AppendToOutgoingContext(metadata.AppendToOutgoingContext(metadata.NewOutgoingContext(none, md), "a", "3"), "a", "4"),
		"incoming":   metadata.NewIncomingContext(none, md),
	} {
		var f fields
		if err := f.addOutgoing(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if size, err := checkMetadata(f.block); size != f.size || err != nil {
			t.Errorf("%s: %d bytes, %v, want %d", name, size, err, f.size)
		}
		want, _ := metadata.FromOutgoingContext(ctx)
		want = want.Copy()
		delete(want, "empty") // a name without a value is not sent
		if got := parseMetadata(nil, string(f.block)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: sent %#v, want %#v", name, got, want)
		}
	}
	upper := metadata.NewOutgoingContext(none, metadata.MD{"Key": {"value"}})
	if err := new(fields).addOutgoing(upper); status.Code(err) != codes.Internal {
		t.Errorf("a name in upper case: %v", err)
	}
}
