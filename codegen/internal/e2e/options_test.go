package e2e_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/plugwire/plugwire/codegen/internal/e2e/named"
	"github.com/plugwire/plugwire/codegen/internal/e2e/versions"
	"github.com/plugwire/plugwire/core/proto/plugwire"
)

// TestOptionsInCore checks that a program can read the options with core alone, without
// codegen.
func TestOptionsInCore(t *testing.T) {
	file, ok := proto.GetExtension(named.File_codegen_internal_e2e_named_named_proto.Options(), plugwire.E_FileProtocol).(*plugwire.Protocol)
	if !ok || file.GetName() != "plugwire.golden.key-value_store" || file.GetVersion() != 7 {
		t.Errorf("file_protocol is %v", file)
	}
	service := versions.File_codegen_internal_e2e_versions_versions_proto.Services().ByName("ProcessorV2")
	own, ok := proto.GetExtension(service.Options(), plugwire.E_ServiceProtocol).(*plugwire.Protocol)
	if !ok || own.GetName() != "" || own.GetVersion() != 2 {
		t.Errorf("service_protocol is %v", own)
	}
}

func TestEmbeddedOptionsAreCores(t *testing.T) {
	read := func(elem ...string) string {
		t.Helper()
		content, err := os.ReadFile(filepath.Join(elem...))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	core := read("..", "..", "..", "core", "proto", "plugwire", "options.proto")
	embedded := read("..", "compile", "plugwire", "options.proto")
	if diff := cmp.Diff(core, embedded); diff != "" {
		t.Errorf("codegen's copy of plugwire/options.proto differs: copy core's file (-core +copy):\n%s", diff)
	}
}
