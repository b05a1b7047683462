package glue

import (
	"google.golang.org/protobuf/reflect/protoreflect"
)

// knows reports whether the options of plugwire/options.proto are known in a
// file: itself or a file that it imports declares the extension of that name
// and number. Another extension of the same number is not ours: the number is
// among those that every program may use for itself.
func knows(file protoreflect.FileDescriptor, extension protoreflect.FullName) bool {
	seen := make(map[string]bool)
	var search func(f protoreflect.FileDescriptor) bool
	search = func(f protoreflect.FileDescriptor) bool {
		if seen[f.Path()] {
			return false
		}
		seen[f.Path()] = true
		extensions := f.Extensions()
		for i := range extensions.Len() {
			if e := extensions.Get(i); e.FullName() == extension && e.Number() == optionField {
				return true
			}
		}
		for i := range f.Imports().Len() {
			if search(f.Imports().Get(i).FileDescriptor) {
				return true
			}
		}
		return false
	}
	return search(file)
}
