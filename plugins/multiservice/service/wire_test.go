package service_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/plugins/multiservice/multi"
	"github.com/plugwire/plugwire/plugins/multiservice/service"
	"github.com/plugwire/plugwire/plugins/multiservice/store"
	"github.com/plugwire/plugwire/transport/unix"
)

// patience bounds a wait for something that should happen at once.
const patience = 20 * time.Second

// serve serves a database with a user of each role like the plugin's command,
// through a real handshake and transport.
func serve(t *testing.T, opts ...host.Option) *host.Plugin {
	t.Helper()
	db, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := service.New(db)
	populate(t, s)
	return plugintest.StartWith(t, multi.ServeMulti(s), unix.New(), []plugin.Option{
		plugin.WithMaxMessageSize(service.MaxMessageSize),
		plugin.OnShutdown(func(context.Context) error { return db.Close() }),
	}, opts...)
}

// scriptedLog is the audit log of a host. It returns its error.
type scriptedLog struct {
	requests chan *multi.RecordRequest
	err      error
}

// Record implements multi.AuditLogHandler.
func (s scriptedLog) Record(_ context.Context, request *multi.RecordRequest) (*multi.RecordResponse, error) {
	s.requests <- request
	return &multi.RecordResponse{}, s.err
}

// The host's audit log has each created user. If the log fails, the user is there all the same.
func TestAuditLog(t *testing.T) {
	for _, failure := range []error{nil, status.Error(codes.Internal, "the log is full")} {
		log := scriptedLog{make(chan *multi.RecordRequest, 1), failure}
		users := multi.NewUserServiceClient(serve(t, host.WithServices(multi.ServeAuditLog(log))))
		created, err := users.CreateUser(t.Context(), &multi.CreateUserRequest{Name: "new", Role: multi.Role_ROLE_WRITER, Caller: admin})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case request := <-log.requests:
			if request.GetCaller() != admin || !proto.Equal(request.GetCreated(), created) {
				t.Errorf("recorded %v", request)
			}
		default:
			t.Error("nothing was recorded")
		}
		if _, err := users.CreateUser(t.Context(), &multi.CreateUserRequest{Name: "new2", Caller: admin}); err == nil {
			t.Error("a user without a role was created")
		}
		if len(log.requests) > 0 {
			t.Errorf("recorded %v, which was refused", <-log.requests)
		}
	}
}

// One handler serves both services, over one connection.
func TestOverTheWire(t *testing.T) {
	p := serve(t)
	users, data := multi.NewUserServiceClient(p), multi.NewDataServiceClient(p)
	ctx := t.Context()

	created, err := users.CreateUser(ctx, &multi.CreateUserRequest{Name: "new", Role: multi.Role_ROLE_WRITER, Caller: admin})
	if err != nil {
		t.Fatal(err)
	}
	if user, err := users.GetUser(ctx, &multi.GetUserRequest{Name: "new", Caller: "new"}); err != nil || !proto.Equal(user, created) {
		t.Errorf("user %v, error %v, want %v", user, err, created)
	}
	stored, err := data.StoreData(ctx, &multi.StoreRequest{Caller: "new", Key: "a/b", Value: []byte{0, 0xff}})
	if err != nil || stored.GetVersion() != 1 {
		t.Errorf("stored %v, error %v", stored, err)
	}
	found, err := data.QueryData(ctx, &multi.QueryRequest{Caller: reader, Prefix: "a/"})
	if err != nil || len(found.GetEntries()) != 1 || !bytes.Equal(found.GetEntries()[0].GetValue(), []byte{0, 0xff}) {
		t.Errorf("found %v, error %v", found, err)
	}

	_, err = users.CreateUser(ctx, &multi.CreateUserRequest{Name: "new", Role: multi.Role_ROLE_READER, Caller: admin})
	wantStatus(t, err, codes.AlreadyExists, "there is a user new already")
	_, err = users.GetUser(ctx, &multi.GetUserRequest{Name: "nobody", Caller: admin})
	wantStatus(t, err, codes.NotFound, "there is no user nobody")
	_, err = data.StoreData(ctx, &multi.StoreRequest{Caller: reader, Key: "k"})
	wantStatus(t, err, codes.PermissionDenied, "the caller reader is ROLE_READER, and this takes ROLE_WRITER")
	_, err = data.QueryData(ctx, &multi.QueryRequest{PageSize: -1})
	wantInvalid(t, err, "caller: is missing", "page_size: must not be negative, and is -1")
}

// A page of the largest entries arrives, and a larger request is not even read.
func TestMessagesOfTheGreatestSize(t *testing.T) {
	data := multi.NewDataServiceClient(serve(t))
	value := bytes.Repeat([]byte("x"), 1<<20)
	const entries = 5
	for i := range entries {
		if _, err := data.StoreData(t.Context(), &multi.StoreRequest{Caller: writer, Key: fmt.Sprint(strings.Repeat("k", 1023), i), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	found := 0
	request := &multi.QueryRequest{Caller: reader, PageSize: 1000}
	for {
		response, err := data.QueryData(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		found += len(response.GetEntries())
		if request.PageToken = response.GetNextPageToken(); request.PageToken == "" {
			break
		}
	}
	if found != entries {
		t.Errorf("found %d entries, want %d", found, entries)
	}
	_, err := data.StoreData(t.Context(), &multi.StoreRequest{Caller: writer, Key: "k", Value: make([]byte, service.MaxMessageSize)})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("error %v, want ResourceExhausted", err)
	}
}

// Calls that are canceled at any moment leave a complete stored value.
func TestCallersCancel(t *testing.T) {
	data := multi.NewDataServiceClient(serve(t))
	const callers, calls = 16, 20
	content := func(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 10_000) }
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			key := fmt.Sprint("key", i)
			acknowledged := 0
			for n := 1; n <= calls; n++ {
				ctx, cancel := context.WithCancel(t.Context())
				go cancel() // before the call, during it or after it
				switch _, err := data.StoreData(ctx, &multi.StoreRequest{Caller: writer, Key: key, Value: content(n)}); status.Code(err) {
				case codes.OK:
					acknowledged = n
				case codes.Canceled:
				default:
					t.Error(err)
				}
				cancel()
			}
			found, err := data.QueryData(t.Context(), &multi.QueryRequest{Caller: reader, Prefix: key, PageSize: 1})
			if err != nil {
				t.Error(err)
				return
			}
			n := 0
			if len(found.GetEntries()) > 0 && found.GetEntries()[0].GetKey() == key {
				value := found.GetEntries()[0].GetValue()
				n = int(value[0])
				if !bytes.Equal(value, content(n)) {
					t.Errorf("%s: the stored value is none of the values", key)
				}
			}
			if n < acknowledged {
				t.Errorf("%s: call %d was acknowledged, and there is %d", key, acknowledged, n)
			}
		})
	}
	wg.Wait()
}

// A plugin that is stopped while callers write lets their calls end, then
// closes the database. Every acknowledged value is stored.
func TestStopWhileCallersWrite(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := service.New(db)
	populate(t, s)
	p := plugintest.StartWith(t, multi.ServeMulti(s), unix.New(), []plugin.Option{
		plugin.OnShutdown(func(context.Context) error { return db.Close() }),
	})
	data := multi.NewDataServiceClient(p)
	const callers = 16
	var acknowledged [callers]int64
	begun := make(chan struct{}, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for {
				response, err := data.StoreData(t.Context(), &multi.StoreRequest{Caller: writer, Key: fmt.Sprintf("key%02d", i)})
				if err != nil {
					if status.Code(err) != codes.Unavailable {
						t.Errorf("%v, want Unavailable", err)
					}
					return
				}
				if acknowledged[i] = response.GetVersion(); acknowledged[i] == 1 {
					begun <- struct{}{}
				}
			}
		})
	}
	deadline := time.After(patience)
	for range callers {
		select {
		case <-begun:
		case <-deadline:
			t.Fatal("some callers have not stored a value")
		}
	}
	if err := p.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	wg.Wait()
	if err := db.View(t.Context(), func(*store.Tx) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("the database: %v, want ErrClosed", err)
	}
	entries := mustQuery(t, service.New(open(t, dir)), &multi.QueryRequest{Caller: reader}).GetEntries()
	if len(entries) != callers {
		t.Fatalf("%d entries, want %d", len(entries), callers)
	}
	for i, entry := range entries {
		if got, want := entry.GetVersion(), acknowledged[i]; got < want || got > want+1 {
			t.Errorf("%s has version %d, want %d, or one more", entry.GetKey(), got, want)
		}
	}
}
