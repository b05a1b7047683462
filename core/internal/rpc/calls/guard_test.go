package calls

import (
	"errors"
	"testing"

	"google.golang.org/grpc"
)

// A wire without a server of grpc cannot serve what registers itself on one.
func TestRegisterServerWithoutServer(t *testing.T) {
	t.Parallel()
	g := &Guard{Server: new(Table), Gate: new(Gate)}
	err := g.RegisterServer(func(*grpc.Server) error {
		t.Error("the function was called")
		return nil
	})
	if !errors.Is(err, errNoServer) {
		t.Errorf("%v", err)
	}
}
