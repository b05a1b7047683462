package service_test

import (
	"context"
	"fmt"
	"os"

	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/multiservice/multi"
	"github.com/plugwire/plugwire/plugins/multiservice/service"
	"github.com/plugwire/plugwire/plugins/multiservice/store"
)

// The first user is created without a caller; every later request names one.
func ExampleService() {
	dir, err := os.MkdirTemp("", "multiservice-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	db, err := store.Open(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	s := service.New(db)
	ctx := context.Background()

	_, err = s.CreateUser(ctx, &multi.CreateUserRequest{Name: "ann", Role: multi.Role_ROLE_ADMIN})
	fmt.Println("ann:", status.Code(err))
	_, err = s.CreateUser(ctx, &multi.CreateUserRequest{Name: "bob", Role: multi.Role_ROLE_READER, Caller: "ann"})
	fmt.Println("bob:", status.Code(err))

	_, err = s.StoreData(ctx, &multi.StoreRequest{Caller: "bob", Key: "greeting", Value: []byte("hello")})
	fmt.Println("bob stores:", status.Convert(err).Message())
	stored, err := s.StoreData(ctx, &multi.StoreRequest{Caller: "ann", Key: "greeting", Value: []byte("hello")})
	fmt.Println("ann stores: version", stored.GetVersion(), status.Code(err))
	found, err := s.QueryData(ctx, &multi.QueryRequest{Caller: "bob", Prefix: "gr"})
	fmt.Printf("bob finds: %s, by %s, %v\n", found.GetEntries()[0].GetValue(), found.GetEntries()[0].GetUpdatedBy(), status.Code(err))
	// Output:
	// ann: OK
	// bob: OK
	// bob stores: the caller bob is ROLE_READER, and this takes ROLE_WRITER
	// ann stores: version 1 OK
	// bob finds: hello, by ann, OK
}
