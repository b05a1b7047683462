package handler

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/plugins/streaming/files"
	"github.com/plugwire/plugwire/plugins/streaming/internal/refuse"
	"github.com/plugwire/plugwire/plugins/streaming/streaming"
)

type uploadStream = grpc.ClientStreamingServer[streaming.FileChunk, streaming.UploadResponse]

// UploadFile receives a file, or the rest of an interrupted upload.
func (h *Handler) UploadFile(stream uploadStream) error {
	if err := h.beginTransfer(); err != nil {
		return err
	}
	defer h.endTransfer()
	start, ctx := time.Now(), stream.Context()
	first, err := firstChunk(stream)
	if err != nil {
		return err
	}
	upload, err := h.store.Upload(ctx, specOf(first))
	if err != nil {
		return err
	}
	last, err := receive(stream, upload, first)
	if err != nil {
		abandon(ctx, upload, err)
		return err
	}
	if err := upload.Commit(last.GetSha256()); err != nil {
		return err
	}
	plugin.Logger(ctx).LogAttrs(ctx, slog.LevelDebug, "received a file",
		slog.String("path", upload.Path()),
		slog.Int64("bytes", upload.Offset()-first.GetOffset()),
		slog.Duration("elapsed", time.Since(start)))
	return stream.SendAndClose(&streaming.UploadResponse{
		FilePath:    upload.Path(),
		TotalBytes:  upload.Offset(),
		TotalChunks: int32(last.GetSequence()) + 1, //nolint:gosec // checkChunk bounds it
		Sha256:      last.GetSha256(),
		Offset:      first.GetOffset(),
	})
}

// firstChunk returns the chunk that describes the upload.
func firstChunk(stream uploadStream) (*streaming.FileChunk, error) {
	first, err := stream.Recv()
	switch {
	case errors.Is(err, io.EOF):
		return nil, refuse.Invalid("upload", "the call ended without a chunk")
	case err != nil:
		return nil, err
	case first.GetUpload() == nil:
		return nil, refuse.Invalid("upload", "the first chunk must describe the file in upload")
	}
	return first, nil
}

func specOf(first *streaming.FileChunk) files.UploadSpec {
	upload := first.GetUpload()
	return files.UploadSpec{
		Path:      upload.GetFilePath(),
		Overwrite: upload.GetOverwrite(),
		Size:      upload.GetTotalBytes(),
		ID:        upload.GetUploadId(),
		Offset:    first.GetOffset(),
		Prefix:    upload.GetPrefixSha256(),
	}
}

// abandon ends an upload that cannot be completed. It keeps the received data if
// the call was cut off, because then no side has made a mistake.
func abandon(ctx context.Context, upload *files.Upload, reason error) {
	end := upload.Discard
	switch status.Code(reason) {
	case codes.Canceled, codes.DeadlineExceeded, codes.Unavailable:
		end = upload.Interrupt
	default:
	}
	if err := end(); err != nil {
		plugin.Logger(ctx).ErrorContext(ctx, "the files of an interrupted upload cannot be cleaned up", "error", err)
	}
}

// receive writes the chunks of a stream, beginning with first. It returns the
// last chunk when the caller has half-closed the stream.
func receive(stream uploadStream, upload *files.Upload, chunk *streaming.FileChunk) (last *streaming.FileChunk, err error) {
	for sequence := int64(0); ; sequence++ {
		if err := checkChunk(chunk, sequence, upload.Offset()); err != nil {
			return nil, err
		}
		if err := upload.Write(chunk.GetData()); err != nil {
			return nil, err
		}
		if chunk.GetIsLast() {
			break
		}
		if chunk, err = stream.Recv(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil, refuse.Invalid("is_last", "the call ended after %d bytes without a last chunk", upload.Offset())
			}
			return nil, err
		}
	}
	switch _, err := stream.Recv(); {
	case err == nil:
		return nil, refuse.Invalid("is_last", "a chunk follows the last one")
	case !errors.Is(err, io.EOF):
		return nil, err
	}
	return chunk, nil
}

// checkChunk checks that a chunk is the next one.
func checkChunk(chunk *streaming.FileChunk, sequence, offset int64) error {
	switch {
	case chunk.GetSequence() != sequence:
		return refuse.Invalid("sequence", "got chunk %d, want chunk %d", chunk.GetSequence(), sequence)
	case sequence == math.MaxInt32:
		return refuse.Invalid("sequence", "the file has more than %d chunks: send larger ones", math.MaxInt32)
	case chunk.GetOffset() != offset:
		return refuse.Invalid("offset", "chunk %d has offset %d, want %d", sequence, chunk.GetOffset(), offset)
	case len(chunk.GetData()) > MaxChunk:
		return refuse.Invalid("data", "chunk %d has %d bytes, at most %d are allowed", sequence, len(chunk.GetData()), MaxChunk)
	case sequence > 0 && chunk.GetUpload() != nil:
		return refuse.Invalid("upload", "chunk %d has upload, which only the first may have", sequence)
	}
	return nil
}
