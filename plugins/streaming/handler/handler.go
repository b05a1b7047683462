// Package handler serves streaming.StreamingService: it joins the store of
// package files and the room of package chat to their streams. Begin with [New].
package handler

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/streaming/assistant"
	"github.com/plugwire/plugwire/plugins/streaming/chat"
	"github.com/plugwire/plugwire/plugins/streaming/files"
	"github.com/plugwire/plugwire/plugins/streaming/streaming"
)

// Version is the release of the plugin, which GetStatus reports. It equals the
// module's tag without the leading "v".
const Version = "0.1.0"

// These are the limits of the service.
const (
	// MaxChunk is how much data a chunk of an upload may have. A transfer has a
	// few chunks in memory at a time.
	MaxChunk = 1 << 20
	// MaxMessageSize is the size of the largest message that a plugin need
	// accept, for plugin.WithMaxMessageSize. A chunk that is a little too large
	// gets an answer that says so. A much larger one is not even read.
	MaxMessageSize = 2 * MaxChunk
	// maxTransfers bounds the memory that transfers use together.
	maxTransfers = 64
)

// A Handler serves streaming.StreamingService. Its methods are safe for
// concurrent use.
type Handler struct {
	started   time.Time
	store     *files.Store
	room      *chat.Room
	assistant *assistant.Assistant
	transfers chan struct{} // one for each transfer under way
}

var _ streaming.StreamingServiceHandler = (*Handler)(nil)

// New returns a handler for the files of store, with a chat room of its own. The
// caller closes the store, after the last call has ended.
func New(store *files.Store) *Handler {
	room := chat.NewRoom()
	return &Handler{
		started:   time.Now(),
		store:     store,
		room:      room,
		assistant: assistant.New(room.Names, store.List),
		transfers: make(chan struct{}, maxTransfers),
	}
}

// GetUpload returns how much of an interrupted upload the plugin has.
func (h *Handler) GetUpload(_ context.Context, request *streaming.GetUploadRequest) (*streaming.GetUploadResponse, error) {
	received, err := h.store.Received(request.GetFilePath(), request.GetUploadId())
	if err != nil {
		return nil, err
	}
	return &streaming.GetUploadResponse{ReceivedBytes: received}, nil
}

// GetStatus reports the status "healthy", [Version], the time since [New], and
// what is under way.
func (h *Handler) GetStatus(context.Context, *streaming.StatusRequest) (*streaming.StatusResponse, error) {
	return &streaming.StatusResponse{
		Status:       "healthy",
		Version:      Version,
		Uptime:       int64(time.Since(h.started) / time.Second),
		Transfers:    int32(len(h.transfers)),    //nolint:gosec // at most maxTransfers
		Participants: int32(len(h.room.Names())), //nolint:gosec // at most chat.MaxParticipants
	}, nil
}

// beginTransfer counts a transfer, or returns an error if there are too many.
func (h *Handler) beginTransfer() error {
	select {
	case h.transfers <- struct{}{}:
		return nil
	default:
		return status.Errorf(codes.ResourceExhausted, "%d transfers are under way, the limit of the plugin", maxTransfers)
	}
}

func (h *Handler) endTransfer() { <-h.transfers }
