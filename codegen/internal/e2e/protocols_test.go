package e2e_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	housepb "github.com/plugwire/plugwire/codegen/internal/e2e/house"
	"github.com/plugwire/plugwire/codegen/internal/e2e/multi"
	"github.com/plugwire/plugwire/codegen/internal/e2e/named"
	"github.com/plugwire/plugwire/codegen/internal/e2e/runtime"
	"github.com/plugwire/plugwire/codegen/internal/e2e/versions"
	"github.com/plugwire/plugwire/codegen/internal/e2e/words"
	"github.com/plugwire/plugwire/core/protocol"
)

func TestProtocols(t *testing.T) {
	for _, tt := range []struct {
		got      *protocol.Protocol
		want     string
		services []string
	}{
		{words.EditorProtocol, "plugwire.golden.words/2", []string{"plugwire.golden.words.v2.Editor"}},
		{multi.MultiProtocol, "plugwire.golden.multi/1", []string{"plugwire.golden.multi.UserService", "plugwire.golden.multi.DataService"}},
		{versions.ProcessorV1Protocol, "plugwire.golden.versions/1", []string{"plugwire.golden.versions.ProcessorV1"}},
		{versions.ProcessorV2Protocol, "plugwire.golden.versions/2", []string{"plugwire.golden.versions.ProcessorV2"}},
		{versions.VersionsV3Protocol, "plugwire.golden.versions/3", []string{"plugwire.golden.versions.ProcessorV3", "plugwire.golden.versions.BatcherV3"}},
		{named.KeyValueStoreV7ServicesProtocol, "plugwire.golden.key-value_store/7", []string{"plugwire.golden.named.KeyValueStoreV7", "plugwire.golden.named.Admin"}},
		{housepb.HouseProtocol, "plugwire.golden.house/1", []string{
			"plugwire.golden.house.v1.ArchiveService", "plugwire.golden.house.v1.LendingService", "plugwire.golden.house.v1.LibraryService",
			"plugwire.golden.house.v1.SearchService",
		}},
		{runtime.RuntimeServices2Protocol, "plugwire.golden.runtime/1", []string{
			"plugwire.golden.runtime.v1.RuntimeService", "plugwire.golden.runtime.v1.ImageService", "plugwire.golden.runtime.v1.Events",
		}},
		{named.OtherProtocol, "plugwire.golden.other/7", []string{"plugwire.golden.named.Other"}},
	} {
		if err := tt.got.Err(); err != nil {
			t.Errorf("%s: %v", tt.want, err)
		}
		if tt.got.String() != tt.want {
			t.Errorf("protocol %s, want %s", tt.got, tt.want)
		}
		var services []string
		for _, s := range tt.got.Services() {
			services = append(services, s.Name)
		}
		if diff := cmp.Diff(tt.services, services); diff != "" {
			t.Errorf("%s: services (-want +got):\n%s", tt.want, diff)
		}
	}
}

func TestBindings(t *testing.T) {
	users := &usersAndData{}
	for _, tt := range []struct {
		name    string
		binding protocol.Binding
		want    string // the family, or part of the error
	}{
		{"one service", words.ServeEditor(&editor{}), "plugwire.golden.words 2"},
		{"one handler for all", multi.ServeMulti(users), "plugwire.golden.multi 1"},
		//nolint:staticcheck // the service is deprecated to test its mark in generated code
		{"a handler for each", protocol.Join(multi.ServeUserService(users), multi.ServeDataService(users)), "plugwire.golden.multi 1"},
		{"only one of two", multi.ServeUserService(users), "service plugwire.golden.multi.DataService is not bound"},
		{"one of two, bound 2 times", protocol.Join(multi.ServeMulti(users), multi.ServeUserService(users)), "service plugwire.golden.multi.UserService is bound 2 times"},
		{
			"three versions, one handler for two services",
			protocol.Join(versions.ServeProcessorV1(processor{}), versions.ServeProcessorV2(processor{}), versions.ServeVersionsV3(processor{})),
			"plugwire.golden.versions 3, 2, 1",
		},
		{"methods of the same name", protocol.Join(named.ServeKeyValueStoreV7(getter{}), named.ServeAdmin(getter{})), "plugwire.golden.key-value_store 7"},
		{"services of several files, without the optional one", housepb.ServeHouse(&library{}), "plugwire.golden.house 1"},
		{"services of several files", protocol.Join(housepb.ServeHouse(&library{}), housepb.ServeSearchService(&library{})), "plugwire.golden.house 1"},
		{"the optional one alone", housepb.ServeSearchService(&library{}), "service plugwire.golden.house.v1.ArchiveService is not bound"},
		{"the optional one, bound 2 times", protocol.Join(housepb.ServeHouse(&library{}), housepb.ServeSearchService(&library{}), housepb.ServeSearchService(&library{})), "SearchService is bound 2 times"},
		{"taken names", runtime.ServeRuntimeServices2(containers{}), "plugwire.golden.runtime 1"},
		{
			"taken names, a handler for each",
			protocol.Join(runtime.ServeRuntimeService(containers{}), runtime.ServeImageServiceService(containers{}), runtime.ServeEventsService(containers{})),
			"plugwire.golden.runtime 1",
		},
		{"no handler", words.ServeEditor(nil), "the handler for protocol plugwire.golden.words/2 is nil"},
		{"no handler for one of two", multi.ServeUserService(nil), "the handler for protocol plugwire.golden.multi/1 is nil"},
		{"no handler for all", multi.ServeMulti(nil), "the handler for protocol plugwire.golden.multi/1 is nil"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			family, err := tt.binding.Family()
			if err != nil {
				if !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %q, want %q", err, tt.want)
				}
				return
			}
			if family.String() != tt.want {
				t.Errorf("family %q, want %q", family, tt.want)
			}
		})
	}
}
