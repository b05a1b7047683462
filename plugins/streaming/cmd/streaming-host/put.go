package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/streaming/files"
	"github.com/plugwire/plugwire/plugins/streaming/internal/filehash"
	"github.com/plugwire/plugwire/plugins/streaming/streaming"
)

type uploadStream = grpc.ClientStreamingClient[streaming.FileChunk, streaming.UploadResponse]

const putHelp = `Puts the file LOCAL into the root, as REMOTE, and prints its size and checksum. By
default REMOTE is LOCAL's name, without the directory. Directories on the way are
made.

The file appears at once when all of it has arrived with the checksum that
was sent, or not at all. If the command is interrupted, the same command continues
after the plugin's data, or at the beginning if LOCAL was changed meanwhile.
While another command puts the same file there, this one waits 4 s and fails.
`

// A putting is the put command, with its flags and arguments.
type putting struct {
	local, remote string
	overwrite     bool

	client streaming.StreamingServiceClient
	file   *os.File
	info   fs.FileInfo // state of file at the beginning
	id     string      // id of the upload
}

func putCommand() *hostcli.Command {
	p := &putting{}
	return &hostcli.Command{
		Name:    "put",
		Args:    "LOCAL [REMOTE]",
		Summary: "put a file into the plugin's root",
		Help:    putHelp,
		Flags: func(flags *flag.FlagSet) {
			flags.BoolVar(&p.overwrite, "overwrite", false, "replace REMOTE if it exists")
		},
		Parse: p.parse,
		Run:   p.run,
	}
}

func (p *putting) parse(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return fmt.Errorf("put needs LOCAL and perhaps REMOTE, and has %d arguments", len(args))
	}
	p.local, p.remote = args[0], filepath.Base(args[0])
	if len(args) == 2 {
		p.remote = args[1]
	}
	return hostcli.CheckText(p.remote)
}

func (p *putting) run(ctx context.Context, s *hostcli.Session) (err error) {
	if err := p.open(); err != nil {
		return err
	}
	defer func() { _ = p.file.Close() }() // the file was only read
	plugin, err := s.Start(ctx)
	if err != nil {
		return err
	}
	p.client = streaming.NewStreamingServiceClient(plugin)
	began := time.Now()
	there, err := p.client.GetUpload(ctx, &streaming.GetUploadRequest{FilePath: p.remote, UploadId: p.id})
	if err != nil {
		return err
	}
	offset := there.GetReceivedBytes()
	if offset < 0 || offset > p.info.Size() {
		offset = 0
	}
	var response *streaming.UploadResponse
	err = again(offset, func(offset int64) (err error) {
		response, err = p.send(ctx, offset)
		return err
	})
	if err != nil {
		return err
	}
	result := transferObject{
		Type: "upload", Remote: response.GetFilePath(), Local: p.local,
		Bytes: response.GetTotalBytes(), ResumedAt: response.GetOffset(),
	}
	return result.print(s, response.GetFilePath(), response.GetSha256(), began)
}

// open opens the file and makes the id of its upload: the id changes only with
// the file.
func (p *putting) open() error {
	info, err := os.Stat(p.local) // a named pipe is not even opened
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", p.local)
	}
	if err != nil {
		return err
	}
	abs, err := filepath.Abs(p.local)
	if err != nil {
		return err
	}
	if p.file, err = os.Open(p.local); err != nil {
		return err
	}
	if p.info, err = p.file.Stat(); err != nil {
		return errors.Join(err, p.file.Close())
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d", abs, p.info.Size(), p.info.ModTime().UnixNano()))
	p.id = hex.EncodeToString(sum[:])
	return nil
}

// send sends the file from an offset on.
func (p *putting) send(ctx context.Context, offset int64) (*streaming.UploadResponse, error) {
	sum, err := filehash.Prefix(ctx, p.file, offset)
	if err != nil {
		return nil, p.readError(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // an upload that ends early is interrupted, never complete
	stream, err := p.client.UploadFile(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.sendChunks(stream, offset, sum); err != nil {
		return nil, err
	}
	response, err := stream.CloseAndRecv()
	if err != nil {
		return nil, err
	}
	if response.GetTotalBytes() != p.info.Size() || !bytes.Equal(response.GetSha256(), sum.Sum(nil)) {
		return nil, fmt.Errorf("the plugin has received %d bytes with the checksum %x, of %d with %x",
			response.GetTotalBytes(), response.GetSha256(), p.info.Size(), sum.Sum(nil))
	}
	return response, nil
}

// sendChunks sends everything after the offset, until the last chunk or until the
// plugin accepts no more; the plugin's answer then has the reason. sum is the
// checksum of the bytes before the offset, and in the end of all.
func (p *putting) sendChunks(stream uploadStream, offset int64, sum hash.Hash) error {
	bar := hostcli.NewProgress(p.info.Size(), os.Stdout, os.Stderr)
	defer bar.Remove()
	bar.Add(offset)
	start := &streaming.UploadStart{
		FilePath:     p.remote,
		Overwrite:    p.overwrite,
		TotalBytes:   p.info.Size(),
		UploadId:     p.id,
		PrefixSha256: prefixOf(sum, offset),
	}
	for sequence := int64(0); ; sequence++ {
		chunk, err := p.nextChunk(offset, sum)
		if err != nil {
			return err
		}
		chunk.Sequence, chunk.Upload, start = sequence, start, nil
		if stream.Send(chunk) != nil {
			return nil
		}
		offset += int64(len(chunk.GetData()))
		bar.Add(int64(len(chunk.GetData())))
		if chunk.GetIsLast() {
			return nil
		}
	}
}

// nextChunk reads the chunk at the offset, and adds it to the sum.
func (p *putting) nextChunk(offset int64, sum hash.Hash) (*streaming.FileChunk, error) {
	// Each chunk needs a new buffer, because grpc owns it after Send.
	data := make([]byte, min(files.ChunkSize, p.info.Size()-offset))
	if _, err := io.ReadFull(p.file, data); err != nil {
		return nil, p.readError(err)
	}
	sum.Write(data)
	chunk := &streaming.FileChunk{Data: data, Offset: offset}
	if offset+int64(len(data)) < p.info.Size() {
		return chunk, nil
	}
	if err := p.unchanged(); err != nil {
		return nil, err
	}
	chunk.IsLast, chunk.Sha256 = true, sum.Sum(nil)
	return chunk, nil
}

// readError returns the error for a file that could not be read.
func (p *putting) readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return p.changed()
	}
	return fmt.Errorf("%s: %w", p.local, err)
}

// unchanged returns an error if the file has changed.
func (p *putting) unchanged() error {
	now, err := p.file.Stat()
	if err != nil {
		return err
	}
	if now.Size() != p.info.Size() || !now.ModTime().Equal(p.info.ModTime()) {
		return p.changed()
	}
	return nil
}

func (p *putting) changed() error {
	return fmt.Errorf("%s was changed while it was sent: put it again", p.local)
}
