package generate

import (
	"go/build"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// suffixes are how the names of files end that are generated from one .proto
// file.
var suffixes = []string{".pb.go", "_protoopaque.pb.go", "_grpc.pb.go", "_plugwire.pb.go"}

// stem returns what the names of the files begin with that are generated from a
// .proto file.
func (o Options) stem(name string, packages goPackages) string {
	dir, base := path.Split(o.toolStem(name, packages))
	return dir + visible(base)
}

// toolStem returns the stem that the tools use.
func (o Options) toolStem(name string, packages goPackages) string {
	stem := strings.TrimSuffix(name, ".proto")
	if o.Out == "" {
		return stem
	}
	return path.Join(strings.TrimPrefix(strings.TrimPrefix(packages[name].path, o.Module), "/"), path.Base(stem))
}

// everywhere is no platform: it matches only files that are for all platforms.
var everywhere = build.Context{
	GOOS: "none", GOARCH: "none", Compiler: "gc",
	OpenFile: func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("package p\n")), nil },
}

// visible returns a stem with which the go command compiles a file everywhere. The
// go command ignores _words.pb.go, refuses -words.pb.go, and compiles
// words_windows.pb.go on Windows only.
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

// rename gives the tools' files the names that stem chooses.
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
