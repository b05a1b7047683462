package control

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/plugwire/plugwire/core/internal/control/controlpb"
)

const (
	// maxServices bounds the services that a plugin may list. Applications have a few.
	maxServices = 10_000
	// maxServiceName bounds the name of a service, in bytes. Generated names have some
	// dozens.
	maxServiceName = 1 << 10
)

// ListServices asks a plugin which services it serves, and returns their names without
// the framework's own. A foreign plugin is asked through reflection.
func ListServices(ctx context.Context, cc grpc.ClientConnInterface, foreign bool) ([]string, error) {
	if foreign {
		return reflectServices(ctx, cc)
	}
	info, err := controlpb.NewControlClient(cc).Info(ctx, &controlpb.InfoRequest{})
	if err != nil {
		return nil, err
	}
	return applicationServices(slices.Values(info.GetServices()), len(info.GetServices()))
}

// applicationServices returns n names that a plugin lists, each once and without the
// framework's own. A person may read them, so a name that cannot be shown is an error.
func applicationServices(listed iter.Seq[string], n int) ([]string, error) {
	if n > maxServices {
		return nil, fmt.Errorf("the plugin lists %d services, which is more than %d", n, maxServices)
	}
	var names []string
	seen := make(map[string]bool, n)
	for name := range listed {
		if name == "" || len(name) > maxServiceName || strings.ContainsFunc(name, isHidden) {
			return nil, fmt.Errorf("the plugin lists a service whose name is not valid: %.64q", name)
		}
		if !seen[name] && !IsControl("/"+name+"/") {
			names = append(names, name)
		}
		seen[name] = true
	}
	return names, nil
}

func isHidden(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }

func reflectServices(ctx context.Context, cc grpc.ClientConnInterface) ([]string, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the stream
	defer cancel()
	stream, err := reflectionpb.NewServerReflectionClient(cc).ServerReflectionInfo(ctx)
	if err != nil {
		return nil, err
	}
	err = stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
	resp, recvErr := stream.Recv() // says why Send failed
	if recvErr != nil {
		return nil, recvErr
	}
	list := resp.GetListServicesResponse()
	switch {
	case err != nil:
		return nil, err
	case list == nil:
		return nil, fmt.Errorf("the plugin's reflection does not list services: %.200q", resp.GetErrorResponse().GetErrorMessage())
	}
	listed := func(yield func(string) bool) {
		for _, s := range list.GetService() {
			if !yield(s.GetName()) {
				return
			}
		}
	}
	return applicationServices(listed, len(list.GetService()))
}
