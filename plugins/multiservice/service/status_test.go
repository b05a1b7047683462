package service

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/multiservice/store"
)

func TestToStatus(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want codes.Code
	}{
		{"none", nil, codes.OK},
		{"full", fmt.Errorf("%w: the disk", store.ErrFull), codes.ResourceExhausted},
		{"closed", store.ErrClosed, codes.Unavailable},
		{"damaged", &store.DamagedError{Path: "p", Err: errors.New("e")}, codes.DataLoss},
		{"canceled", context.Canceled, codes.Canceled},
		{"late", context.DeadlineExceeded, codes.DeadlineExceeded},
		{"a status", status.Error(codes.NotFound, "x"), codes.NotFound},
		{"anything", errors.New("input/output error"), codes.Internal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := status.Convert(toStatus(tt.err))
			if got.Code() != tt.want {
				t.Errorf("code %v, want %v", got.Code(), tt.want)
			}
			if s, ok := status.FromError(tt.err); !ok && got.Message() != tt.err.Error() {
				t.Errorf("message %q, want %q", got.Message(), tt.err)
			} else if ok && got.Message() != s.Message() {
				t.Errorf("message %q, want %q", got.Message(), s.Message())
			}
		})
	}
}
