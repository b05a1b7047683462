package breaking

import "google.golang.org/protobuf/reflect/protoreflect"

// An index holds what files declare, by name.
type index struct {
	files      map[string]bool // by path
	services   map[protoreflect.FullName]protoreflect.ServiceDescriptor
	messages   map[protoreflect.FullName]protoreflect.MessageDescriptor
	enums      map[protoreflect.FullName]protoreflect.EnumDescriptor
	extensions map[protoreflect.FullName]protoreflect.ExtensionDescriptor
}

// newIndex returns the index of files. It includes the messages and enums of
// imported files, because services use them.
func newIndex(files []protoreflect.FileDescriptor) index {
	x := index{
		files:      make(map[string]bool),
		services:   make(map[protoreflect.FullName]protoreflect.ServiceDescriptor),
		messages:   make(map[protoreflect.FullName]protoreflect.MessageDescriptor),
		enums:      make(map[protoreflect.FullName]protoreflect.EnumDescriptor),
		extensions: make(map[protoreflect.FullName]protoreflect.ExtensionDescriptor),
	}
	for _, f := range files {
		x.files[f.Path()] = true
		services := f.Services()
		for i := range services.Len() {
			x.services[services.Get(i).FullName()] = services.Get(i)
		}
	}
	added := make(map[string]bool)
	for _, f := range files {
		x.addFile(f, added)
	}
	return x
}

// addFile adds what a file and its imports declare, unless the file was added
// before.
func (x index) addFile(f protoreflect.FileDescriptor, added map[string]bool) {
	if added[f.Path()] {
		return
	}
	added[f.Path()] = true
	x.add(f)
	for i := range f.Imports().Len() {
		x.addFile(f.Imports().Get(i).FileDescriptor, added)
	}
}

// declares reports whether d is declared in one of the files themselves, not in an
// imported file.
func (x index) declares(d protoreflect.Descriptor) bool { return x.files[d.ParentFile().Path()] }

// add adds the messages, enums and extensions that a file or a message declares.
func (x index) add(parent interface {
	Messages() protoreflect.MessageDescriptors
	Enums() protoreflect.EnumDescriptors
	Extensions() protoreflect.ExtensionDescriptors
},
) {
	extensions := parent.Extensions()
	for i := range extensions.Len() {
		x.extensions[extensions.Get(i).FullName()] = extensions.Get(i)
	}
	enums := parent.Enums()
	for i := range enums.Len() {
		x.enums[enums.Get(i).FullName()] = enums.Get(i)
	}
	messages := parent.Messages()
	for i := range messages.Len() {
		if m := messages.Get(i); !m.IsMapEntry() { // a map entry is compared as the type of its field
			x.messages[m.FullName()] = m
			x.add(m)
		}
	}
}
