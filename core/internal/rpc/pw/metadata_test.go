package pw

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// gRPC's rules for metadata hold on this wire too. The differential tests compare the texts
// with those of grpc-go.
func TestValidate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		key, value string
		valid      bool
	}{
		{"key-1_x.y", "some ~text", true},
		{"key-bin", "\x00\xff", true},
		{":path", "\x00", true}, // it is not sent
		{"", "value", false},
		{"Key", "value", false},
		{"k!", "value", false},
		{"kä", "value", false},
		{"key", "ä", false},
		{"key", "\n", false},
		{"key", "\x7f", false},
	} {
		err := validate(metadata.MD{tt.key: {"before", tt.value}})
		if (err == nil) != tt.valid || err != nil && status.Code(err) != codes.Internal {
			t.Errorf("%q=%q: %v", tt.key, tt.value, err)
		}
	}
}
