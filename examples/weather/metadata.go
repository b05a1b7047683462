package weather

import (
	"context"

	"google.golang.org/grpc/metadata"
)

// RequestIDKey is the metadata key of a call's id, by which the log lines of host and
// plugin find each other.
const RequestIDKey = "request-id"

// RequestID returns the id that the caller gave this call, or nothing. The context is
// a handler's.
func RequestID(ctx context.Context) string {
	values := metadata.ValueFromIncomingContext(ctx, RequestIDKey)
	if len(values) == 0 {
		return ""
	}
	return values[0]
}
