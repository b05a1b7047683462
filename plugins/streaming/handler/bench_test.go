package handler_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/plugwire/plugwire/plugins/streaming/files"
	"github.com/plugwire/plugwire/plugins/streaming/streaming"
	"github.com/plugwire/plugwire/transport/unix"
)

// chunkSizes are the candidates for files.ChunkSize.
var chunkSizes = []int{4 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20}

// benchSize is the size of the sent file: so large that the time of the call
// does not matter.
const benchSize = 64 << 20

func BenchmarkDownload(b *testing.B) {
	for _, size := range chunkSizes {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			s := start(b, unix.New(), files.WithChunkSize(int64(size)))
			s.write(b, "file", random(benchSize))
			b.SetBytes(benchSize)
			b.ReportAllocs()
			for b.Loop() {
				stream, err := s.DownloadFile(b.Context(), &streaming.DownloadRequest{FilePath: "file"})
				if err != nil {
					b.Fatal(err)
				}
				received := 0
				for {
					chunk, err := stream.Recv()
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil {
						b.Fatal(err)
					}
					received += len(chunk.GetData())
				}
				if received != benchSize {
					b.Fatalf("%d bytes", received)
				}
			}
		})
	}
}

func BenchmarkUpload(b *testing.B) {
	data := random(benchSize)
	for _, size := range chunkSizes {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			s := start(b, unix.New())
			chunks := chunksOf(&streaming.UploadStart{FilePath: "file", Overwrite: true}, data, 0, size)
			b.SetBytes(benchSize)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.upload(b, chunks...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
