package calls

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

func TestNotBegun(t *testing.T) {
	t.Parallel()
	foreign, err := status.New(codes.Unavailable, "busy").WithDetails(&errdetails.ErrorInfo{Domain: "example.com", Reason: reasonNotSent})
	if err != nil {
		t.Fatal(err)
	}
	g := &Guard{Side: "plugin", Other: "host"}
	for _, tt := range []struct {
		name string
		err  error
		want bool
	}{
		{"draining", g.draining(), true},
		{"too many calls", TooManyCalls("plugin", "host", 1), true},
		{"too much metadata", TooMuchMetadata("plugin", "host", 1), true},
		{"too many streams of the framework", tooManyControl("plugin"), true},
		{"no room for the only message", NoRoom("plugin x", false), true},
		{"no room for a message of a stream", NoRoom("plugin x", true), false},
		{"not sent", NotSent(codes.Unavailable, "gone").Err(), true},
		{"wrapped", fmt.Errorf("call: %w", NotSent(codes.Unavailable, "gone").Err()), true},
		{"sent as a status", status.FromProto(NotSent(codes.Canceled, "gone").Proto()).Err(), true},
		{"nil", nil, false},
		{"not a status", errors.New("gone"), false},
		{"another status", status.Error(codes.Unavailable, "gone"), false},
		{"the reason of another domain", foreign.Err(), false},
		{"the context", context.Canceled, false},
	} {
		if got := NotBegun(tt.err); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}

// The error of a handler says nothing about the call of the handler itself.
func TestBegun(t *testing.T) {
	t.Parallel()
	details, err := NotSent(codes.Unavailable, "gone").WithDetails(&errdetails.RequestInfo{RequestId: "7"})
	if err != nil {
		t.Fatal(err)
	}
	got := status.Convert(begun(fmt.Errorf("call: %w", details.Err())))
	if NotBegun(got.Err()) {
		t.Errorf("%v says that the handler has not begun", got)
	}
	if got.Code() != codes.Unavailable || got.Message() != "call: "+details.Err().Error() || len(got.Details()) != 1 {
		t.Errorf("code %v, message %q, details %v", got.Code(), got.Message(), got.Details())
	}
	plain := status.Error(codes.NotFound, "no such thing")
	if begun(plain) != plain { //nolint:errorlint // the same value, without a copy
		t.Error("another error was changed")
	}
}

// The detail of a refusal is what the generated package of google.rpc makes of it.
func TestRefusalDetail(t *testing.T) {
	t.Parallel()
	details := NotSent(codes.Unavailable, "gone").Details()
	want := &errdetails.ErrorInfo{Domain: RefusalDomain, Reason: reasonNotSent}
	if got, ok := details[0].(*errdetails.ErrorInfo); len(details) != 1 || !ok || !proto.Equal(got, want) {
		t.Errorf("%v, want %v", details, want)
	}
}

// The other side chooses the details of a status.
func FuzzIsRefusal(f *testing.F) {
	f.Add(errorInfoURL, errorInfo(reasonCalls).GetValue())
	f.Add(errorInfoURL, append(errorInfo(reasonCalls).GetValue(), 0x12, 1, 'x'))       // another domain after it
	f.Add(errorInfoURL, append([]byte{0x1a, 2, 0x0a, 0}, errorInfo("").GetValue()...)) // metadata before it
	f.Add("type.googleapis.com/google.rpc.RequestInfo", errorInfo(reasonCalls).GetValue())
	f.Add("", []byte{0x12, 0xff})
	f.Fuzz(func(t *testing.T, url string, value []byte) {
		detail := &anypb.Any{TypeUrl: url, Value: value}
		got := isRefusal(detail)
		info := new(errdetails.ErrorInfo)
		if proto.Unmarshal(value, info) != nil {
			return
		}
		if want := detail.MessageIs(info) && info.GetDomain() == RefusalDomain; got != want {
			t.Errorf("%q %x: %t, want %t", url, value, got, want)
		}
	})
}
