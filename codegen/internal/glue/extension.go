package glue

import (
	"google.golang.org/protobuf/reflect/protoreflect"
)

// knows reports whether a file can use an option of plugwire/options.proto. The file or
// one of its imports must declare an extension with that name and number. The
// number alone is not enough. It is in the range for internal use, so another project's
// option may have it.
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
