package calls

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
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
		{"too many calls", tooManyCalls("plugin", "host", 1), true},
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
