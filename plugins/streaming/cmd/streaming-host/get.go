package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/streaming/internal/filehash"
	"github.com/plugwire/plugwire/plugins/streaming/streaming"
)

const getHelp = `Gets the file REMOTE of the root and prints its size and checksum. LOCAL is where
it goes: a file, or a directory that exists; by default a file of the same name
in the current directory.

The data is in LOCAL.plugwire-part until the file is complete and has the
checksum that the plugin sent. If the command is interrupted, the same command
continues there, or at the beginning if the file has changed.
`

// A getting is the get command, with its flags and arguments.
type getting struct {
	remote, local string
	overwrite     bool

	client streaming.StreamingServiceClient
	bar    *hostcli.Progress
}

func getCommand() *hostcli.Command {
	g := &getting{}
	return &hostcli.Command{
		Name:    "get",
		Args:    "REMOTE [LOCAL]",
		Summary: "get a file from the plugin's root",
		Help:    getHelp,
		Flags: func(flags *flag.FlagSet) {
			flags.BoolVar(&g.overwrite, "overwrite", false, "replace LOCAL if it exists")
		},
		Parse: g.parse,
		Run:   g.run,
	}
}

func (g *getting) parse(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return fmt.Errorf("get needs REMOTE and perhaps LOCAL, and has %d arguments", len(args))
	}
	if args[0] == "" {
		return errors.New("REMOTE is empty")
	}
	g.remote, g.local = args[0], path.Base(args[0])
	if len(args) == 2 {
		g.local = args[1]
		if info, err := os.Stat(g.local); err == nil && info.IsDir() {
			g.local = filepath.Join(g.local, path.Base(g.remote))
		}
	}
	return hostcli.CheckText(g.remote)
}

func (g *getting) run(ctx context.Context, s *hostcli.Session) (err error) {
	if err := checkLocal(g.local, g.overwrite); err != nil {
		return err
	}
	p, err := openPart(g.local)
	if err != nil {
		return err
	}
	defer func() {
		if size, sizeErr := p.size(); err != nil && sizeErr == nil && size > 0 {
			_ = s.Note(fmt.Sprintf("%d bytes are in %s; the same command continues there", size, p.file.Name()))
		}
		if closeErr := p.close(); err == nil {
			err = closeErr
		}
	}()
	offset, err := p.size()
	if err != nil {
		return err
	}
	plugin, err := s.Start(ctx)
	if err != nil {
		return err
	}
	g.client = streaming.NewStreamingServiceClient(plugin)
	began := time.Now()
	var sum []byte
	result := transferObject{Type: "download", Remote: g.remote, Local: g.local}
	err = again(offset, func(offset int64) (err error) {
		result.ResumedAt = offset
		result.Bytes, sum, err = g.receive(ctx, p, offset)
		return err
	})
	if err != nil {
		return err
	}
	if err := p.publish(g.overwrite); err != nil {
		return err
	}
	return result.print(s, g.local, sum, began)
}

// receive receives the file from an offset on, until the part is complete.
func (g *getting) receive(ctx context.Context, p *part, offset int64) (size int64, checksum []byte, err error) {
	sum, err := filehash.Prefix(ctx, p.file, offset)
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", p.file.Name(), err)
	}
	if err := p.cut(offset); err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream if the loop ends early
	stream, err := g.client.DownloadFile(ctx, &streaming.DownloadRequest{
		FilePath:     g.remote,
		Offset:       offset,
		PrefixSha256: prefixOf(sum, offset),
	})
	if err != nil {
		return 0, nil, err
	}
	defer func() {
		if g.bar != nil {
			g.bar.Remove()
		}
	}()
	for sequence := int64(0); ; sequence++ {
		chunk, err := stream.Recv()
		if err != nil {
			return 0, nil, unlessEnd(err)
		}
		if sequence == 0 {
			size = chunk.GetTotalBytes()
			g.bar = hostcli.NewProgress(size, os.Stdout, os.Stderr)
			g.bar.Add(offset)
		}
		if err := checkDue(chunk, sequence, offset, size); err != nil {
			return 0, nil, err
		}
		data := chunk.GetData()
		if _, err := p.file.Write(data); err != nil {
			return 0, nil, err
		}
		sum.Write(data)
		offset += int64(len(data))
		g.bar.Add(int64(len(data)))
		if !chunk.GetIsLast() {
			continue
		}
		if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
			return 0, nil, errors.Join(errors.New("the plugin did not end after the last chunk"), err)
		}
		checksum = sum.Sum(nil)
		if offset != size || !bytes.Equal(checksum, chunk.GetSha256()) {
			return 0, nil, errors.Join(
				fmt.Errorf("the received %d of %d bytes have the checksum %x, and the plugin sent %x: get the file again", offset, size, checksum, chunk.GetSha256()),
				p.cut(0))
		}
		return size, checksum, nil
	}
}

// checkDue checks that a chunk is the next one, of a file of that size.
func checkDue(chunk *streaming.FileChunk, sequence, offset, size int64) error {
	length := int64(len(chunk.GetData()))
	if chunk.GetSequence() != sequence || chunk.GetOffset() != offset || length > size-offset || length == 0 && !chunk.GetIsLast() {
		return fmt.Errorf("the plugin sent chunk %d of offset %d and %d bytes where chunk %d of offset %d was due, of a file of %d bytes",
			chunk.GetSequence(), chunk.GetOffset(), length, sequence, offset, size)
	}
	return nil
}

// unlessEnd replaces io.EOF by an error, for a stream that ends before its last
// chunk.
func unlessEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the plugin ended the download without a last chunk")
	}
	return err
}
