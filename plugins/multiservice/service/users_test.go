package service_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/plugwire/plugwire/plugins/multiservice/multi"
	"github.com/plugwire/plugwire/plugins/multiservice/service"
)

func TestCreateAndGetUser(t *testing.T) {
	s := populated(t)
	before := time.Now()
	created, err := s.CreateUser(t.Context(), &multi.CreateUserRequest{Name: "Zoe.O_K-7@example.org", Role: multi.Role_ROLE_READER, Caller: admin})
	if err != nil {
		t.Fatal(err)
	}
	if created.GetName() != "Zoe.O_K-7@example.org" || created.GetRole() != multi.Role_ROLE_READER {
		t.Errorf("created %v", created)
	}
	if at := created.GetCreateTime().AsTime(); at.Before(before) || at.After(time.Now()) {
		t.Errorf("created at %v, want now", at)
	}
	got, err := s.GetUser(t.Context(), &multi.GetUserRequest{Name: created.GetName(), Caller: admin})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(created, got, protocmp.Transform()); diff != "" {
		t.Errorf("user (-created +got):\n%s", diff)
	}
}

func TestFirstUser(t *testing.T) {
	s := empty(t)
	_, err := s.GetUser(t.Context(), &multi.GetUserRequest{Name: admin, Caller: admin})
	wantStatus(t, err, codes.PermissionDenied, "the caller admin is not a user")
	_, err = s.CreateUser(t.Context(), &multi.CreateUserRequest{Name: reader, Role: multi.Role_ROLE_READER})
	wantStatus(t, err, codes.FailedPrecondition, "the first user must be ROLE_ADMIN, because only an ADMIN can create others, and is ROLE_READER")
	_, err = s.CreateUser(t.Context(), &multi.CreateUserRequest{Name: admin, Role: multi.Role_ROLE_ADMIN, Caller: admin})
	wantStatus(t, err, codes.PermissionDenied, "the caller admin is not a user")

	if _, err := s.CreateUser(t.Context(), &multi.CreateUserRequest{Name: admin, Role: multi.Role_ROLE_ADMIN}); err != nil {
		t.Fatal(err)
	}
	const noCaller = "there are users, so an ADMIN must be the caller, and there is no caller"
	for _, name := range []string{admin, "other"} {
		_, err = s.CreateUser(t.Context(), &multi.CreateUserRequest{Name: name, Role: multi.Role_ROLE_ADMIN})
		wantStatus(t, err, codes.PermissionDenied, noCaller)
	}
}

// When many callers create the first user, one succeeds, and the others get an
// error.
func TestFirstUserOfMany(t *testing.T) {
	s := empty(t)
	var created atomic.Int32
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			_, err := s.CreateUser(t.Context(), &multi.CreateUserRequest{Name: fmt.Sprint("admin", i), Role: multi.Role_ROLE_ADMIN})
			switch status.Code(err) {
			case codes.OK:
				created.Add(1)
			case codes.PermissionDenied:
			default:
				t.Errorf("error %v, want PermissionDenied", err)
			}
		})
	}
	wg.Wait()
	if n := created.Load(); n != 1 {
		t.Errorf("%d were the first", n)
	}
}

func TestCreateUserThatIsThere(t *testing.T) {
	s := populated(t)
	_, err := s.CreateUser(t.Context(), &multi.CreateUserRequest{Name: reader, Role: multi.Role_ROLE_ADMIN, Caller: admin})
	wantStatus(t, err, codes.AlreadyExists, "there is a user reader already")
	user, err := s.GetUser(t.Context(), &multi.GetUserRequest{Name: reader, Caller: reader})
	if err != nil || user.GetRole() != multi.Role_ROLE_READER {
		t.Errorf("user %v, error %v, want one that is unchanged", user, err)
	}
}

// When many callers create the same user, one succeeds.
func TestCreateUserOfMany(t *testing.T) {
	s := populated(t)
	var created atomic.Int32
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			_, err := s.CreateUser(t.Context(), &multi.CreateUserRequest{Name: "new", Role: multi.Role_ROLE_READER, Caller: admin})
			switch status.Code(err) {
			case codes.OK:
				created.Add(1)
			case codes.AlreadyExists:
			default:
				t.Errorf("error %v, want AlreadyExists", err)
			}
		})
	}
	wg.Wait()
	if n := created.Load(); n != 1 {
		t.Errorf("%d have created it", n)
	}
}

func TestGetUserThatIsNotThere(t *testing.T) {
	_, err := populated(t).GetUser(t.Context(), &multi.GetUserRequest{Name: "nobody", Caller: admin})
	wantStatus(t, err, codes.NotFound, "there is no user nobody")
}

// TestPermissions checks which user may do what.
func TestPermissions(t *testing.T) {
	const readerOnly, writerOnly = "the caller reader is ROLE_READER, and this takes ", "the caller writer is ROLE_WRITER, and this takes "
	for _, tt := range []struct {
		name   string
		caller string
		call   func(t *testing.T, s *service.Service, caller string) error
		denied string // empty if the call is permitted
	}{
		{"create, as an admin", admin, createUser, ""},
		{"create, as a writer", writer, createUser, writerOnly + "ROLE_ADMIN"},
		{"create, as a reader", reader, createUser, readerOnly + "ROLE_ADMIN"},
		{"create, as nobody", "nobody", createUser, "the caller nobody is not a user"},
		{"get another, as an admin", admin, getUser(writer), ""},
		{"get another, as a writer", writer, getUser(admin), writerOnly + "ROLE_ADMIN"},
		{"get another, as a reader", reader, getUser(admin), readerOnly + "ROLE_ADMIN"},
		{"get one that is not there, as a reader", reader, getUser("nobody"), readerOnly + "ROLE_ADMIN"},
		{"get oneself, as an admin", admin, getUser(admin), ""},
		{"get oneself, as a writer", writer, getUser(writer), ""},
		{"get oneself, as a reader", reader, getUser(reader), ""},
		{"get oneself, as nobody", "nobody", getUser("nobody"), "the caller nobody is not a user"},
		{"store, as an admin", admin, storeData, ""},
		{"store, as a writer", writer, storeData, ""},
		{"store, as a reader", reader, storeData, readerOnly + "ROLE_WRITER"},
		{"store, as nobody", "nobody", storeData, "the caller nobody is not a user"},
		{"store, in another case", "Writer", storeData, "the caller Writer is not a user"},
		{"query, as an admin", admin, queryData, ""},
		{"query, as a writer", writer, queryData, ""},
		{"query, as a reader", reader, queryData, ""},
		{"query, as nobody", "nobody", queryData, "the caller nobody is not a user"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := populated(t)
			err := tt.call(t, s, tt.caller)
			if tt.denied == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantStatus(t, err, codes.PermissionDenied, tt.denied)
			if entries := mustQuery(t, s, &multi.QueryRequest{Caller: admin}); len(entries.GetEntries()) > 0 {
				t.Errorf("stored all the same: %v", entries)
			}
			_, err = s.GetUser(t.Context(), &multi.GetUserRequest{Name: "new", Caller: admin})
			wantStatus(t, err, codes.NotFound, "there is no user new")
		})
	}
}

func createUser(t *testing.T, s *service.Service, caller string) error {
	t.Helper()
	_, err := s.CreateUser(t.Context(), &multi.CreateUserRequest{Name: "new", Role: multi.Role_ROLE_READER, Caller: caller})
	return err
}

func getUser(name string) func(t *testing.T, s *service.Service, caller string) error {
	return func(t *testing.T, s *service.Service, caller string) error {
		t.Helper()
		_, err := s.GetUser(t.Context(), &multi.GetUserRequest{Name: name, Caller: caller})
		return err
	}
}

func storeData(t *testing.T, s *service.Service, caller string) error {
	t.Helper()
	_, err := s.StoreData(t.Context(), &multi.StoreRequest{Caller: caller, Key: "k", Value: []byte("v")})
	return err
}

func queryData(t *testing.T, s *service.Service, caller string) error {
	t.Helper()
	_, err := s.QueryData(t.Context(), &multi.QueryRequest{Caller: caller})
	return err
}

func TestUserRequestsInvalid(t *testing.T) {
	s := populated(t)
	const roles = "ROLE_READER, ROLE_WRITER and ROLE_ADMIN"
	long := strings.Repeat("x", 65)
	for _, tt := range []struct {
		name    string
		request *multi.CreateUserRequest
		want    []string
	}{
		{
			"nothing but a caller",
			&multi.CreateUserRequest{Caller: admin},
			[]string{"name: is missing", "role: is missing: the roles are " + roles},
		},
		{
			"everything at once",
			&multi.CreateUserRequest{Name: long, Role: 4, Caller: "a b"},
			[]string{
				"name: has 65 bytes, and may have 64",
				"role: is 4, which is none of " + roles,
				"caller: may have letters and digits of ASCII, and . _ - @, and has ' '",
			},
		},
		{
			"no letter at the beginning",
			&multi.CreateUserRequest{Name: "ä", Role: multi.Role_ROLE_ADMIN, Caller: "-x"},
			[]string{
				"name: must begin with a letter or digit of ASCII, and begins with 'ä'",
				"caller: must begin with a letter or digit of ASCII, and begins with '-'",
			},
		},
		{
			"control character",
			&multi.CreateUserRequest{Name: "a\n", Role: multi.Role_ROLE_ADMIN},
			[]string{`name: may have letters and digits of ASCII, and . _ - @, and has '\n'`},
		},
		{
			"no UTF-8",
			&multi.CreateUserRequest{Name: "a\xff", Role: multi.Role_ROLE_ADMIN},
			[]string{`name: may have letters and digits of ASCII, and . _ - @, and has '�'`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := s.CreateUser(t.Context(), tt.request)
			wantInvalid(t, err, tt.want...)
		})
	}
	_, err := s.GetUser(t.Context(), &multi.GetUserRequest{})
	wantInvalid(t, err, "name: is missing", "caller: is missing")

	if _, err := s.CreateUser(t.Context(), &multi.CreateUserRequest{Name: long[:64], Role: multi.Role_ROLE_READER, Caller: admin}); err != nil {
		t.Errorf("a name of the greatest length: %v", err)
	}
}
