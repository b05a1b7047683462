package protocol

import (
	"fmt"
	"reflect"

	"google.golang.org/grpc"
)

// misfit returns an error if handler cannot serve desc. Without this check grpc's
// RegisterService would end the process.
func misfit(desc *grpc.ServiceDesc, handler any) error {
	want := reflect.TypeOf(desc.HandlerType)
	if want == nil || want.Kind() != reflect.Pointer || want.Elem().Kind() != reflect.Interface {
		return fmt.Errorf("service %s: its description has no handler interface", desc.ServiceName)
	}
	want = want.Elem()
	have := reflect.TypeOf(handler)
	if have.Implements(want) {
		return nil
	}
	for m := range want.Methods() {
		got, ok := have.MethodByName(m.Name)
		switch {
		case !ok && m.PkgPath != "":
			// Reflection cannot look up an unexported method by name. Generated code
			// demands this one to prove that the handler embeds a generated struct.
			continue
		case !ok && hasPointerMethod(have, m.Name):
			return fmt.Errorf("service %s: method %s has a pointer receiver: bind &handler", desc.ServiceName, m.Name)
		case !ok:
			return fmt.Errorf("service %s: method %s is missing", desc.ServiceName, m.Name)
		case !sameSignature(got.Type, m.Type):
			return fmt.Errorf("service %s: method %s has the wrong form: want %s", desc.ServiceName, m.Name, m.Type)
		}
	}
	return fmt.Errorf("service %s: the handler does not embed the generated Unimplemented (or Unsafe) struct that %s demands", desc.ServiceName, want)
}

func hasPointerMethod(t reflect.Type, name string) bool {
	if t.Kind() == reflect.Pointer {
		return false
	}
	_, ok := reflect.PointerTo(t).MethodByName(name)
	return ok
}

// sameSignature compares the method of a concrete type, whose first parameter is the
// receiver, with the method of an interface.
func sameSignature(concrete, iface reflect.Type) bool {
	if concrete.NumIn() != iface.NumIn()+1 || concrete.NumOut() != iface.NumOut() || concrete.IsVariadic() != iface.IsVariadic() {
		return false
	}
	for i := range iface.NumIn() {
		if concrete.In(i+1) != iface.In(i) {
			return false
		}
	}
	for i := range iface.NumOut() {
		if concrete.Out(i) != iface.Out(i) {
			return false
		}
	}
	return true
}

func isNil(handler any) bool {
	if handler == nil {
		return true
	}
	v := reflect.ValueOf(handler)
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Map, reflect.Func, reflect.Chan, reflect.Slice:
		return v.IsNil()
	default:
		return false
	}
}
