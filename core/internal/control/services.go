package control

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/plugwire/plugwire/core/internal/control/controlpb"
)

// maxServices bounds the services that a foreign plugin may list. Applications have a
// few.
const maxServices = 10_000

// ListServices asks a plugin which services it serves, and returns their names without
// the framework's own. A foreign plugin is asked through reflection.
func ListServices(ctx context.Context, cc grpc.ClientConnInterface, foreign bool) ([]string, error) {
	if foreign {
		return reflectServices(ctx, cc)
	}
	info, err := controlpb.NewControlClient(cc).Info(ctx, &controlpb.InfoRequest{})
	return info.GetServices(), err
}

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
		return nil, errors.New("the plugin's reflection does not list services: " + resp.GetErrorResponse().GetErrorMessage())
	case len(list.GetService()) > maxServices:
		return nil, fmt.Errorf("the plugin lists %d services, which is more than %d", len(list.GetService()), maxServices)
	}
	var names []string
	for _, s := range list.GetService() {
		if !IsControl("/" + s.GetName() + "/") {
			names = append(names, s.GetName())
		}
	}
	return names, nil
}
