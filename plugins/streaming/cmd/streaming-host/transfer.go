package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/plugwire/plugwire/plugins/streaming/files"
	"github.com/plugwire/plugwire/plugins/streaming/streaming"
)

// put puts a file into the plugin's root, as a stream of chunks. If an earlier put of the file was interrupted, put
// continues after the bytes that the plugin has.
func put(ctx context.Context, client streaming.StreamingServiceClient, path, name string) (*streaming.UploadResponse, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // the file was only read
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	// The plugin knows the upload by this name, which changes with the file.
	id := fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d", path, info.Size(), info.ModTime().UnixNano())))
	there, err := client.GetUpload(ctx, &streaming.GetUploadRequest{FilePath: name, UploadId: id})
	if err != nil {
		return nil, err
	}
	offset, sum := there.GetReceivedBytes(), sha256.New()
	if _, err := io.CopyN(sum, file, offset); err != nil {
		return nil, fmt.Errorf("%s: the first %d bytes: %w", path, offset, err)
	}
	start := &streaming.UploadStart{FilePath: name, Overwrite: true, TotalBytes: info.Size(), UploadId: id}
	if offset > 0 {
		start.PrefixSha256 = sum.Sum(nil)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // an upload that ends early is interrupted, and never complete
	stream, err := client.UploadFile(ctx)
	if err != nil {
		return nil, err
	}
	for sequence := int64(0); ; sequence++ {
		data := make([]byte, min(files.ChunkSize, info.Size()-offset)) // a new one for each chunk: Send takes it
		if _, err := io.ReadFull(file, data); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		sum.Write(data)
		chunk := &streaming.FileChunk{Data: data, Sequence: sequence, Offset: offset, Upload: start}
		start, offset = nil, offset+int64(len(data))
		if chunk.IsLast = offset == info.Size(); chunk.GetIsLast() {
			if now, err := file.Stat(); err != nil || now.Size() != info.Size() || !now.ModTime().Equal(info.ModTime()) {
				return nil, errors.Join(fmt.Errorf("%s has changed", path), err)
			}
			chunk.Sha256 = sum.Sum(nil)
		}
		if err := stream.Send(chunk); err != nil || chunk.GetIsLast() {
			return stream.CloseAndRecv() // the answer, or why the plugin takes no more
		}
	}
}

// get gets a file from the plugin's root, and returns at which offset it began. Until the file is complete and has the
// plugin's checksum, its bytes are in path.part. If there are some already, get continues after them.
func get(ctx context.Context, client streaming.StreamingServiceClient, name, path string) (began int64, err error) {
	part, err := os.OpenFile(path+".part", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = part.Close() }() // below, Close of a complete file is checked
	sum := sha256.New()
	offset, err := io.Copy(sum, part)
	if err != nil {
		return 0, err
	}
	request := &streaming.DownloadRequest{FilePath: name, Offset: offset}
	if offset > 0 {
		request.PrefixSha256 = sum.Sum(nil)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream if the loop ends early
	stream, err := client.DownloadFile(ctx, request)
	if err != nil {
		return 0, err
	}
	began = offset
	for {
		chunk, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return 0, errors.New("the plugin ended the download without a last chunk")
		case err != nil:
			return 0, err
		case chunk.GetOffset() != offset:
			return 0, fmt.Errorf("the plugin sent offset %d where %d was due", chunk.GetOffset(), offset)
		}
		if _, err := part.Write(chunk.GetData()); err != nil {
			return 0, err
		}
		sum.Write(chunk.GetData())
		offset += int64(len(chunk.GetData()))
		if !chunk.GetIsLast() {
			continue
		}
		if !bytes.Equal(chunk.GetSha256(), sum.Sum(nil)) {
			return 0, fmt.Errorf("%s does not have the plugin's checksum: remove it, and get the file again", part.Name())
		}
		if err := part.Close(); err != nil {
			return 0, err
		}
		return began, os.Rename(part.Name(), path)
	}
}
