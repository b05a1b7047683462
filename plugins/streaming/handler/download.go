package handler

import (
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/plugins/streaming/streaming"
)

// DownloadFile sends a file, or the rest of one from an offset on.
func (h *Handler) DownloadFile(request *streaming.DownloadRequest, stream grpc.ServerStreamingServer[streaming.FileChunk]) error {
	if err := h.beginTransfer(); err != nil {
		return err
	}
	defer h.endTransfer()
	start, ctx := time.Now(), stream.Context()
	download, err := h.store.Download(ctx, request.GetFilePath(), request.GetOffset(), request.GetPrefixSha256())
	if err != nil {
		return err
	}
	defer download.Close()
	for sequence := int64(0); ; sequence++ {
		chunk, err := download.Next()
		if err != nil {
			return err
		}
		message := &streaming.FileChunk{
			Data:     chunk.Data,
			Sequence: sequence,
			IsLast:   chunk.Last,
			Offset:   chunk.Offset,
			Sha256:   chunk.SHA256,
		}
		if sequence == 0 {
			message.TotalBytes = download.Size()
		}
		if err := stream.Send(message); err != nil {
			return err
		}
		if chunk.Last {
			break
		}
	}
	plugin.Logger(ctx).LogAttrs(ctx, slog.LevelDebug, "sent a file",
		slog.String("path", request.GetFilePath()),
		slog.Int64("bytes", download.Size()-request.GetOffset()),
		slog.Duration("elapsed", time.Since(start)))
	return nil
}
