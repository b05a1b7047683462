// Package schema is what a plugin can be called with: its services, methods and
// messages, from its own reflection or from .proto files.
package schema

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/jhump/protoreflect/v2/grpcreflect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Schema has the services of a plugin.
type Schema struct {
	services    []protoreflect.ServiceDescriptor
	undescribed []string // services that are listed, and that reflection does not describe
	files       fileFinder
	types       Types
	close       func()
}

// Types finds messages and extensions by name, for JSON and for the details of errors.
type Types interface {
	protoregistry.MessageTypeResolver
	protoregistry.ExtensionTypeResolver
}

// fileFinder finds services that the plugin does not serve, but knows.
type fileFinder interface {
	FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error)
}

// framework are the packages of services that every plugin has, or every plugin on
// go-plugin.
var framework = []string{"grpc.health.", "grpc.reflection.", "plugwire.v1.", "plugin."}

// ErrNoReflection is the error of a plugin that cannot describe its services.
var ErrNoReflection = errors.New("the plugin has no reflection (grpc.reflection.v1), so it cannot say what its services are: give their .proto files to plugwire call with -proto")

// FromReflection asks a plugin for its schema. The context governs the schema until
// Close.
func FromReflection(ctx context.Context, cc grpc.ClientConnInterface) (*Schema, error) {
	client := grpcreflect.NewClientAuto(ctx, cc, grpcreflect.WithAllowMissingFileDescriptors())
	s := &Schema{files: client.AsResolver(), types: both{client.AsResolver().AsTypeResolver()}, close: client.Reset}
	names, err := client.ListServices()
	if err != nil {
		s.Close()
		if status.Code(err) == codes.Unimplemented {
			return nil, ErrNoReflection
		}
		return nil, fmt.Errorf("ask the plugin for its services: %w", err)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if isFramework(string(name)) {
			continue
		}
		file, err := client.FileContainingSymbol(name)
		if err != nil && ctx.Err() != nil {
			s.Close()
			return nil, fmt.Errorf("ask the plugin for the file of service %s: %w", name, err)
		}
		if err == nil {
			if d, ok := findService(file, name); ok {
				s.services = append(s.services, d)
				continue
			}
		}
		s.undescribed = append(s.undescribed, string(name))
	}
	return s, nil
}

func isFramework(name string) bool {
	return slices.ContainsFunc(framework, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

func findService(file protoreflect.FileDescriptor, name protoreflect.FullName) (protoreflect.ServiceDescriptor, bool) {
	for i := range file.Services().Len() {
		if s := file.Services().Get(i); s.FullName() == name {
			return s, true
		}
	}
	return nil, false
}

// FromFiles compiles .proto files. What they import is looked up in dirs, or beside the
// files if there are none.
func FromFiles(ctx context.Context, files, dirs []string) (*Schema, error) {
	names := files
	if len(dirs) == 0 {
		names = nil
		for _, file := range files {
			if dir := filepath.Dir(file); !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
			names = append(names, filepath.Base(file))
		}
	}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: dirs}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(ctx, names...)
	if err != nil {
		return nil, err
	}
	registry := new(protoregistry.Files)
	s := &Schema{files: registry, close: func() {}}
	for _, file := range compiled {
		if err := register(registry, file); err != nil {
			return nil, err
		}
		for i := range file.Services().Len() {
			s.services = append(s.services, file.Services().Get(i))
		}
	}
	s.types = both{dynamicpb.NewTypes(registry)}
	return s, nil
}

// register adds a file with all that it imports.
func register(registry *protoregistry.Files, file protoreflect.FileDescriptor) error {
	if _, err := registry.FindFileByPath(file.Path()); err == nil || file.IsPlaceholder() {
		return nil
	}
	for i := range file.Imports().Len() {
		if err := register(registry, file.Imports().Get(i).FileDescriptor); err != nil {
			return err
		}
	}
	return registry.RegisterFile(file)
}

// Close ends the conversation with the plugin.
func (s *Schema) Close() { s.close() }

// Services returns the services of the application, without the framework's.
func (s *Schema) Services() []protoreflect.ServiceDescriptor { return s.services }

// Types finds messages and extensions by name.
func (s *Schema) Types() Types { return s.types }

// Method returns the method with a name such as pkg.Service/Method. The package may be
// left out if no other service has the name.
func (s *Schema) Method(name string) (protoreflect.MethodDescriptor, error) {
	service, method, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	d, err := s.Service(service)
	if err != nil {
		return nil, err
	}
	return methodOf(d, method)
}

// AnyMethod returns a method of [Schema.AnyService].
func (s *Schema) AnyMethod(service, method string) (protoreflect.MethodDescriptor, error) {
	d, err := s.AnyService(service)
	if err != nil {
		return nil, err
	}
	return methodOf(d, method)
}

// AnyService returns a service that the plugin need not serve: one of its host's.
func (s *Schema) AnyService(name string) (protoreflect.ServiceDescriptor, error) {
	found, err := s.files.FindDescriptorByName(protoreflect.FullName(name))
	d, ok := found.(protoreflect.ServiceDescriptor)
	if err != nil || !ok {
		return nil, fmt.Errorf("service %s is not known: give its .proto file with -proto", name)
	}
	return d, nil
}

// Register makes the files of the services known to this program, so that its own
// reflection describes them.
func (s *Schema) Register() error {
	for _, d := range s.services {
		if err := register(protoregistry.GlobalFiles, d.ParentFile()); err != nil {
			return err
		}
	}
	return nil
}

func methodOf(d protoreflect.ServiceDescriptor, method string) (protoreflect.MethodDescriptor, error) {
	if m := d.Methods().ByName(protoreflect.Name(method)); m != nil {
		return m, nil
	}
	var names []string
	for i := range d.Methods().Len() {
		names = append(names, string(d.Methods().Get(i).Name()))
	}
	return nil, fmt.Errorf("service %s has no method %s: it has %s", d.FullName(), method, list(names))
}

// Service returns the service with the given name, whose package may be left out if no
// other service has the name.
func (s *Schema) Service(name string) (protoreflect.ServiceDescriptor, error) {
	var names []string
	var short []protoreflect.ServiceDescriptor
	for _, d := range s.services {
		if string(d.FullName()) == name {
			return d, nil
		}
		if string(d.Name()) == name {
			short = append(short, d)
		}
		names = append(names, string(d.FullName()))
	}
	if len(short) == 1 {
		return short[0], nil
	}
	if slices.Contains(s.undescribed, name) {
		return nil, fmt.Errorf("the plugin serves %s, and its reflection does not describe the methods: give the .proto file with -proto", name)
	}
	return nil, fmt.Errorf("there is no service %s: there is %s", name, list(names))
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// both finds types of the plugin, and those that are part of this program, such as
// google.rpc.ErrorInfo.
type both struct{ Types }

// FindMessageByName implements [protoregistry.MessageTypeResolver].
func (b both) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	if t, err := b.Types.FindMessageByName(name); err == nil {
		return t, nil
	}
	return protoregistry.GlobalTypes.FindMessageByName(name)
}

// FindMessageByURL implements [protoregistry.MessageTypeResolver].
func (b both) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	if t, err := b.Types.FindMessageByURL(url); err == nil {
		return t, nil
	}
	return protoregistry.GlobalTypes.FindMessageByURL(url)
}
