package breaking

import "google.golang.org/protobuf/reflect/protoreflect"

// An index is what files declare, by name.
type index struct {
	services map[protoreflect.FullName]protoreflect.ServiceDescriptor
	messages map[protoreflect.FullName]protoreflect.MessageDescriptor
	enums    map[protoreflect.FullName]protoreflect.EnumDescriptor
}

func newIndex(files []protoreflect.FileDescriptor) index {
	x := index{
		services: make(map[protoreflect.FullName]protoreflect.ServiceDescriptor),
		messages: make(map[protoreflect.FullName]protoreflect.MessageDescriptor),
		enums:    make(map[protoreflect.FullName]protoreflect.EnumDescriptor),
	}
	for _, f := range files {
		services := f.Services()
		for i := range services.Len() {
			x.services[services.Get(i).FullName()] = services.Get(i)
		}
		x.add(f)
	}
	return x
}

// add adds the messages and enums that a file or a message declares.
func (x index) add(parent interface {
	Messages() protoreflect.MessageDescriptors
	Enums() protoreflect.EnumDescriptors
},
) {
	enums := parent.Enums()
	for i := range enums.Len() {
		x.enums[enums.Get(i).FullName()] = enums.Get(i)
	}
	messages := parent.Messages()
	for i := range messages.Len() {
		if m := messages.Get(i); !m.IsMapEntry() { // is compared as its field's type
			x.messages[m.FullName()] = m
			x.add(m)
		}
	}
}
