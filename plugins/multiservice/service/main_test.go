package service_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/multiservice/multi"
	"github.com/plugwire/plugwire/plugins/multiservice/service"
	"github.com/plugwire/plugwire/plugins/multiservice/store"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // a handler without a plugin logs there
	goleak.VerifyTestMain(m)
}

// These are the users of the tests, each with the role in its name.
const (
	admin  = "admin"
	writer = "writer"
	reader = "reader"
)

// open opens the database in dir, and closes it when the test ends.
func open(tb testing.TB, dir string) *store.Store {
	tb.Helper()
	s, err := store.Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// empty returns a service without users.
func empty(tb testing.TB) *service.Service {
	tb.Helper()
	return service.New(open(tb, tb.TempDir()))
}

// populated returns a service with a user of each role.
func populated(tb testing.TB) *service.Service {
	tb.Helper()
	s := empty(tb)
	populate(tb, s)
	return s
}

func populate(tb testing.TB, s *service.Service) {
	tb.Helper()
	caller := ""
	for _, user := range []struct {
		name string
		role multi.Role
	}{
		{admin, multi.Role_ROLE_ADMIN},
		{writer, multi.Role_ROLE_WRITER},
		{reader, multi.Role_ROLE_READER},
	} {
		if _, err := s.CreateUser(tb.Context(), &multi.CreateUserRequest{Name: user.name, Role: user.role, Caller: caller}); err != nil {
			tb.Fatal(err)
		}
		caller = admin
	}
}

// mustStore stores a value on behalf of the writer.
func mustStore(tb testing.TB, s *service.Service, key, value string) {
	tb.Helper()
	if _, err := s.StoreData(tb.Context(), &multi.StoreRequest{Caller: writer, Key: key, Value: []byte(value)}); err != nil {
		tb.Fatal(err)
	}
}

// wantStatus checks the code and the text of a status.
func wantStatus(t *testing.T, err error, code codes.Code, message string) {
	t.Helper()
	if s := status.Convert(err); s.Code() != code || s.Message() != message {
		t.Errorf("status %v %q, want %v %q", s.Code(), s.Message(), code, message)
	}
}

// wantInvalid checks an INVALID_ARGUMENT status and its detail: want has
// violations in the form "field: description".
func wantInvalid(t *testing.T, err error, want ...string) {
	t.Helper()
	s := status.Convert(err)
	if s.Code() != codes.InvalidArgument || len(s.Details()) != 1 {
		t.Fatalf("status %v %q with %d details, want InvalidArgument with 1", s.Code(), s.Message(), len(s.Details()))
	}
	var got, texts []string
	for _, v := range s.Details()[0].(*errdetails.BadRequest).GetFieldViolations() {
		got = append(got, fmt.Sprintf("%s: %s", v.GetField(), strings.TrimPrefix(v.GetDescription(), v.GetField()+" ")))
		texts = append(texts, v.GetDescription())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("violations (-want +got):\n%s", diff)
	}
	if all := strings.Join(texts, "; "); s.Message() != all {
		t.Errorf("message %q, want %q", s.Message(), all)
	}
}
