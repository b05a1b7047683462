package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/streaming/files"
	"github.com/plugwire/plugwire/plugins/streaming/internal/filehash"
	"github.com/plugwire/plugwire/plugins/streaming/streaming"
)

const putHelp = `Puts the file LOCAL into the root, as REMOTE, and prints its size and checksum. By
default REMOTE is LOCAL's name, without the directory. Directories on the way are
made.

The file is there at once when all of it has arrived and has the checksum that
was sent, or not at all. If the command is interrupted, the same command goes on
where the plugin has come to; if LOCAL was changed meanwhile, from the beginning.
While another command puts the same file there, this one waits 4 s and fails.
`

// A putting is the put command.
type putting struct {
	local, remote string
	overwrite     bool

	client streaming.StreamingServiceClient
	file   *os.File
	info   fs.FileInfo // of file, at the beginning
	id     string      // of the upload
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
	defer func() { _ = p.file.Close() }() // it was only read
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
	result := transferred{
		Type: "upload", Remote: response.GetFilePath(), Local: p.local,
		Bytes: response.GetTotalBytes(), ResumedAt: response.GetOffset(),
	}
	return result.print(s, response.GetFilePath(), response.GetSha256(), began)
}

// open opens the file and names its upload: for as long as the file is the same,
// so is the name.
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
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, p.changed()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.local, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // an upload that is left early is interrupted, never complete
	stream, err := p.client.UploadFile(ctx)
	if err != nil {
		return nil, err
	}
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
	for sequence, last := int64(0), false; !last; sequence++ {
		// A new one for each chunk: it is grpc's from Send on.
		data := make([]byte, min(files.ChunkSize, p.info.Size()-offset))
		switch _, err := io.ReadFull(p.file, data); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, p.changed()
		case err != nil:
			return nil, fmt.Errorf("%s: %w", p.local, err)
		}
		sum.Write(data)
		chunk := &streaming.FileChunk{Data: data, Sequence: sequence, Offset: offset, Upload: start}
		start = nil
		offset += int64(len(data))
		if last = offset == p.info.Size(); last {
			if err := p.unchanged(); err != nil {
				return nil, err
			}
			chunk.IsLast, chunk.Sha256 = true, sum.Sum(nil)
		}
		if err := stream.Send(chunk); err != nil {
			break // CloseAndRecv says why
		}
		bar.Add(int64(len(data)))
	}
	response, err := stream.CloseAndRecv()
	if err != nil {
		return nil, err
	}
	if response.GetTotalBytes() != p.info.Size() || !bytes.Equal(response.GetSha256(), sum.Sum(nil)) {
		return nil, fmt.Errorf("the plugin has taken %d bytes with the checksum %x, of %d with %x",
			response.GetTotalBytes(), response.GetSha256(), p.info.Size(), sum.Sum(nil))
	}
	return response, nil
}

// unchanged returns an error if the file is not what it was.
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
