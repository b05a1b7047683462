package service_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/plugwire/plugwire/plugins/multiservice/multi"
	"github.com/plugwire/plugwire/plugins/multiservice/service"
)

func mustQuery(tb testing.TB, s *service.Service, request *multi.QueryRequest) *multi.QueryResponse {
	tb.Helper()
	response, err := s.QueryData(tb.Context(), request)
	if err != nil {
		tb.Fatal(err)
	}
	return response
}

func keysOf(response *multi.QueryResponse) []string {
	var keys []string
	for _, entry := range response.GetEntries() {
		keys = append(keys, entry.GetKey())
	}
	return keys
}

// pages returns the keys of each page of a query, which must end.
func pages(t *testing.T, s *service.Service, request *multi.QueryRequest) [][]string {
	t.Helper()
	request = proto.CloneOf(request)
	var all [][]string
	for range 10_000 {
		response := mustQuery(t, s, request)
		all = append(all, keysOf(response))
		if request.PageToken = response.GetNextPageToken(); request.PageToken == "" {
			return all
		}
	}
	t.Fatal("the pages have no end")
	return nil
}

func TestStoreAndQuery(t *testing.T) {
	s := populated(t)
	for i, store := range []struct{ caller, key, value string }{
		{writer, "a", "one"},
		{admin, "a", "two"},
		{writer, "b", ""},
	} {
		before := time.Now()
		response, err := s.StoreData(t.Context(), &multi.StoreRequest{Caller: store.caller, Key: store.key, Value: []byte(store.value)})
		if err != nil {
			t.Fatal(err)
		}
		if want := []int64{1, 2, 1}[i]; response.GetVersion() != want {
			t.Errorf("version %d, want %d", response.GetVersion(), want)
		}
		found := mustQuery(t, s, &multi.QueryRequest{Caller: reader, Prefix: store.key})
		if len(found.GetEntries()) != 1 || found.GetNextPageToken() != "" {
			t.Fatalf("found %v, want one entry", found)
		}
		entry := found.GetEntries()[0]
		if entry.GetKey() != store.key || string(entry.GetValue()) != store.value ||
			entry.GetVersion() != response.GetVersion() || entry.GetUpdatedBy() != store.caller {
			t.Errorf("entry %v of %v", entry, store)
		}
		if at := entry.GetUpdateTime().AsTime(); at.Before(before) || at.After(time.Now()) {
			t.Errorf("stored at %v, want now", at)
		}
	}
}

func TestQueryPages(t *testing.T) {
	s := populated(t)
	for _, key := range []string{"a1", "a2", "a3", "a4", "a5", "b1", "ä"} {
		mustStore(t, s, key, "x")
	}
	for _, tt := range []struct {
		name   string
		prefix string
		size   int32
		want   [][]string
	}{
		{"all on one page", "", 0, [][]string{{"a1", "a2", "a3", "a4", "a5", "b1", "ä"}}},
		{"prefix", "a", 0, [][]string{{"a1", "a2", "a3", "a4", "a5"}}},
		{"a whole key", "a3", 0, [][]string{{"a3"}}},
		{"pages of two", "a", 2, [][]string{{"a1", "a2"}, {"a3", "a4"}, {"a5"}}},
		{"a last page that is full", "a", 5, [][]string{{"a1", "a2", "a3", "a4", "a5"}}},
		{"pages of one", "", 1, [][]string{{"a1"}, {"a2"}, {"a3"}, {"a4"}, {"a5"}, {"b1"}, {"ä"}}},
		{"no such prefix", "c", 1, [][]string{nil}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := pages(t, s, &multi.QueryRequest{Caller: reader, Prefix: tt.prefix, PageSize: tt.size})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("pages (-want +got):\n%s", diff)
			}
		})
	}
}

// The size of a page is 50 if the request sets none, and 1000 at most.
func TestQueryPageSize(t *testing.T) {
	s := populated(t)
	for i := range 1010 {
		mustStore(t, s, fmt.Sprintf("%04d", i), "x")
	}
	for size, want := range map[int32]int{0: 50, 1: 1, 1000: 1000, 1001: 1000, 1 << 30: 1000} {
		if got := len(mustQuery(t, s, &multi.QueryRequest{Caller: reader, PageSize: size}).GetEntries()); got != want {
			t.Errorf("page_size %d: %d entries, want %d", size, got, want)
		}
	}
}

// A page fits into a message of 4 MiB, whatever its entries are, and has at
// least one.
func TestQueryPageBytes(t *testing.T) {
	s := populated(t)
	key := strings.Repeat("k", 1023)
	var want []string
	for i := range 7 {
		want = append(want, fmt.Sprint(key, i))
		mustStore(t, s, want[i], strings.Repeat("x", 1<<20))
	}
	mustStore(t, s, "small", "x")
	want = append(want, "small")
	got := pages(t, s, &multi.QueryRequest{Caller: reader, PageSize: 1000})
	if diff := cmp.Diff(want, slices.Concat(got...)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if len(got) < 3 {
		t.Errorf("%d pages", len(got))
	}
	request := &multi.QueryRequest{Caller: reader, PageSize: 1000}
	for i := range got {
		response := mustQuery(t, s, request)
		if size := proto.Size(response); size > 4<<20 {
			t.Errorf("page %d has %d bytes", i, size)
		}
		request.PageToken = response.GetNextPageToken()
	}
}

// The next page shows the data at the time of its query.
func TestQueryWhileOthersStore(t *testing.T) {
	s := populated(t)
	for _, key := range []string{"b", "d", "f"} {
		mustStore(t, s, key, "x")
	}
	request := &multi.QueryRequest{Caller: reader, PageSize: 2}
	response := mustQuery(t, s, request)
	for _, key := range []string{"a", "c", "d", "e", "g"} {
		mustStore(t, s, key, "y")
	}
	request.PageToken = response.GetNextPageToken()
	request.PageSize = 10
	request.Caller = writer // another caller may continue the query
	got := append(keysOf(response), keysOf(mustQuery(t, s, request))...)
	if diff := cmp.Diff([]string{"b", "d", "e", "f", "g"}, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

// A page token is valid in the next process.
func TestPageTokenSurvives(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	s := service.New(db)
	populate(t, s)
	for _, key := range []string{"a", "b", "c"} {
		mustStore(t, s, key, "x")
	}
	request := &multi.QueryRequest{Caller: reader, PageSize: 1}
	request.PageToken = mustQuery(t, s, request).GetNextPageToken()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	got := pages(t, service.New(open(t, dir)), request)
	if diff := cmp.Diff([][]string{{"b"}, {"c"}}, got); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}

func TestDataRequestsInvalid(t *testing.T) {
	s := populated(t)
	const badToken = "page_token: does not belong to a query for this prefix: send the next_page_token of the page before, unchanged"
	for _, key := range []string{"a1", "a2"} {
		mustStore(t, s, key, "x")
	}
	token := mustQuery(t, s, &multi.QueryRequest{Caller: reader, Prefix: "a", PageSize: 1}).GetNextPageToken()
	if token == "" {
		t.Fatal("no next page")
	}
	for _, tt := range []struct {
		name    string
		request proto.Message
		want    []string
	}{
		{"store nothing", &multi.StoreRequest{}, []string{"caller: is missing", "key: is missing"}},
		{
			"store too much", &multi.StoreRequest{Caller: strings.Repeat("c", 65), Key: strings.Repeat("k", 1025), Value: make([]byte, 1<<20+1)},
			[]string{
				"caller: has 65 bytes, and may have 64",
				"key: has 1025 bytes, and may have 1024",
				"value: has 1048577 bytes, and may have 1048576",
			},
		},
		{"store under no text", &multi.StoreRequest{Caller: writer, Key: "\xff"}, []string{"key: is not UTF-8"}},
		{
			"query everything wrong", &multi.QueryRequest{Prefix: strings.Repeat("k", 1025), PageSize: -1, PageToken: "x"},
			[]string{
				"caller: is missing",
				"prefix: has 1025 bytes, and may have 1024",
				"page_size: must not be negative, and is -1",
				badToken,
			},
		},
		{"no text", &multi.QueryRequest{Caller: reader, Prefix: "\xff"}, []string{"prefix: is not UTF-8"}},
		{"token of another prefix", &multi.QueryRequest{Caller: reader, Prefix: "a1", PageToken: token}, []string{badToken}},
		{"token of a shorter prefix", &multi.QueryRequest{Caller: reader, PageToken: token}, []string{badToken}},
		{"token, cut off", &multi.QueryRequest{Caller: reader, Prefix: "a", PageToken: token[1:]}, []string{badToken}},
		{"token, with a line end", &multi.QueryRequest{Caller: reader, Prefix: "a", PageToken: token + "\n"}, []string{badToken}},
		{"token, endless", &multi.QueryRequest{Caller: reader, Prefix: "a", PageToken: strings.Repeat("A", 1<<20)}, []string{badToken}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var err error
			switch request := tt.request.(type) {
			case *multi.StoreRequest:
				_, err = s.StoreData(t.Context(), request)
			case *multi.QueryRequest:
				_, err = s.QueryData(t.Context(), request)
			}
			wantInvalid(t, err, tt.want...)
		})
	}
	mustStore(t, s, strings.Repeat("k", 1024), strings.Repeat("v", 1<<20)) // the largest allowed size
}

func TestCanceled(t *testing.T) {
	s := populated(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.StoreData(ctx, &multi.StoreRequest{Caller: writer, Key: "k"})
	wantStatus(t, err, codes.Canceled, "context canceled")
	_, err = s.QueryData(ctx, &multi.QueryRequest{Caller: writer})
	wantStatus(t, err, codes.Canceled, "context canceled")
	if keys := keysOf(mustQuery(t, s, &multi.QueryRequest{Caller: reader})); len(keys) > 0 {
		t.Errorf("stored %v", keys)
	}

	late, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	_, err = s.StoreData(late, &multi.StoreRequest{Caller: writer, Key: "k"})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("error %v, want DeadlineExceeded", err)
	}
}

func TestClosed(t *testing.T) {
	db := open(t, t.TempDir())
	s := service.New(db)
	populate(t, s)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := s.StoreData(t.Context(), &multi.StoreRequest{Caller: writer, Key: "k"})
	wantStatus(t, err, codes.Unavailable, "the database is closed")
	_, err = s.GetUser(t.Context(), &multi.GetUserRequest{Name: admin, Caller: admin})
	wantStatus(t, err, codes.Unavailable, "the database is closed")
}
