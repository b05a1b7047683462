package generate

import (
	"go/build"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// suffixes are the ends of the names of generated files.
var suffixes = []string{".pb.go", "_protoopaque.pb.go", "_grpc.pb.go", "_plugwire.pb.go"}

// stem returns the beginning of the names of the files that are generated from a .proto
// file.
func (o Options) stem(name string, packages goPackages) string {
	dir, base := path.Split(o.toolStem(name, packages))
	return dir + visible(base)
}

// toolStem returns the stem that the generators use.
func (o Options) toolStem(name string, packages goPackages) string {
	stem := strings.TrimSuffix(name, ".proto")
	if o.Out == "" {
		return stem
	}
	return path.Join(strings.TrimPrefix(strings.TrimPrefix(packages[name].path, o.Module), "/"), path.Base(stem))
}

// everywhere matches only files that Go compiles on all platforms.
var everywhere = build.Context{
	GOOS: "none", GOARCH: "none", Compiler: "gc",
	OpenFile: func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("package p\n")), nil },
}

// visible changes a stem if necessary so that the go command compiles its files on
// every platform. The go command ignores _words.pb.go, refuses -words.pb.go, and
// compiles words_windows.pb.go on Windows only.
func visible(base string) string {
	first, _ := utf8.DecodeRuneInString(base)
	if base == "" || first < utf8.RuneSelf && !isWord.MatchString(string(first)) {
		base = "proto" + base
	}
	if ok, err := everywhere.MatchFile("", base+".pb.go"); err == nil && !ok {
		base += "_proto"
	}
	return base
}

// rename changes the names of generated files from toolStem to stem.
func (o Options) rename(files []file, set []protoreflect.FileDescriptor, packages goPackages) {
	names := make(map[string]string)
	for _, f := range set {
		from, to := o.toolStem(f.Path(), packages), o.stem(f.Path(), packages)
		if from == to {
			continue
		}
		for _, suffix := range suffixes {
			names[from+suffix] = to + suffix
		}
	}
	for i, f := range files {
		if name, ok := names[f.name]; ok {
			files[i].name = name
		}
	}
}
