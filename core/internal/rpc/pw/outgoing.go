package pw

import (
	"context"
	"reflect"
	"sync"
	"unsafe"

	"google.golang.org/grpc/metadata"
)

// outgoing is the metadata that a caller has put into a context, as package metadata keeps it
// there: pairs of names and values that were appended, after a map.
type outgoing struct {
	md    metadata.MD
	added [][]string
}

// outgoingOf returns the metadata of a context. [metadata.FromOutgoingContext] copies it into a
// map, which takes longer than all else that a call does with its metadata. It also hides the
// upper-case names that gRPC refuses.
func outgoingOf(ctx context.Context) outgoing {
	value := ctx.Value(keys().outgoing)
	if value == nil {
		return outgoing{}
	}
	if reflect.TypeOf(value) != rawOutgoing() {
		md, _ := metadata.FromOutgoingContext(ctx)
		return outgoing{md: md}
	}
	// An interface with a struct in it is a pair of pointers: to the type, and to the struct.
	return **(**outgoing)(unsafe.Add(unsafe.Pointer(&value), unsafe.Sizeof(uintptr(0)))) //nolint:gosec // the type is checked
}

// rawOutgoing returns the type with which package metadata keeps outgoing metadata. It is nil
// if that is not laid out like [outgoing].
var rawOutgoing = sync.OnceValue(func() reflect.Type {
	ours := reflect.TypeFor[outgoing]()
	theirs := reflect.TypeOf(metadata.AppendToOutgoingContext(context.Background()).Value(keys().outgoing))
	if theirs == nil || theirs.Kind() != reflect.Struct || theirs.NumField() != ours.NumField() {
		return nil
	}
	for i := range ours.NumField() {
		if theirs.Field(i).Type != ours.Field(i).Type {
			return nil
		}
	}
	return theirs
})

// addOutgoing validates and adds the metadata of a context, in gRPC's order.
func (f *fields) addOutgoing(ctx context.Context) error {
	out := outgoingOf(ctx)
	var room [8]string
	for _, name := range appendNames(room[:0], out.md) {
		values := out.md[name]
		if err := validateField(name, values...); err != nil {
			return err
		}
		f.add(name, values...)
	}
	for _, pairs := range out.added {
		for i := 0; i+1 < len(pairs); i += 2 {
			if err := validateField(pairs[i], pairs[i+1]); err != nil {
				return err
			}
			f.add(pairs[i], pairs[i+1])
		}
	}
	return nil
}
