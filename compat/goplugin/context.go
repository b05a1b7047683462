package plugin

import (
	"context"
	"os/exec"
	"reflect"
	"unsafe"
)

// contextOf returns the context of a command that exec.CommandContext has made, nil if it
// cannot be found. The context ends the process in go-plugin, where the command itself is
// started. Nothing exported shows it.
func contextOf(cmd *exec.Cmd) context.Context {
	field := reflect.ValueOf(cmd).Elem().FieldByName("ctx")
	if !field.IsValid() || field.Type() != reflect.TypeFor[context.Context]() {
		return nil
	}
	return *(*context.Context)(unsafe.Pointer(field.UnsafeAddr())) //nolint:gosec // the type is checked
}
