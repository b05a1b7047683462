package misbehave

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echo"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/transport/unix"
)

// handler is the echo service with more ways to go wrong.
type handler struct{ echo.Handler }

// versionHandler answers every unary call with the version of its protocol.
type versionHandler struct {
	echopb.UnsafeEchoServer
	handler
	version int
}

func (v versionHandler) Unary(context.Context, *echopb.Payload) (*echopb.Payload, error) {
	return text(strconv.Itoa(v.version)), nil
}

func text(s string) *echopb.Payload { return &echopb.Payload{Data: []byte(s)} }

// metadataKey is the key that a caller sends, and finds in the header and the
// trailer.
const metadataKey = "x-e2e"

// Unary returns its payload, with the received metadata.
func (handler) Unary(ctx context.Context, req *echopb.Payload) (*echopb.Payload, error) {
	if values := metadata.ValueFromIncomingContext(ctx, metadataKey); len(values) > 0 {
		if err := grpc.SetHeader(ctx, metadata.Pairs(metadataKey, "header "+values[0])); err != nil {
			return nil, err
		}
		if err := grpc.SetTrailer(ctx, metadata.Pairs(metadataKey, "trailer "+values[0])); err != nil {
			return nil, err
		}
	}
	return req, nil
}

// Fail goes wrong in one of these ways, or in one of package echo.
func (h handler) Fail(ctx context.Context, req *echopb.FailRequest) (*echopb.Payload, error) {
	how, arg, _ := strings.Cut(req.GetHow(), ":")
	logger := plugin.Logger(ctx)
	switch how {
	case "flood": // one line of that length on both streams
		n, err := strconv.Atoi(arg)
		if err == nil {
			printLine(n)
		}
		return text(""), err
	case "deadline": // returns how much time it has
		deadline, ok := ctx.Deadline()
		if !ok {
			return nil, status.Error(codes.FailedPrecondition, "no deadline")
		}
		return text(time.Until(deadline).String()), nil
	case "wait": // logs when it starts to wait for the end of the caller, and when that has come
		logger.InfoContext(ctx, "waiting")
		<-ctx.Done()
		logger.InfoContext(ctx, "waited", "cause", ctx.Err().Error())
		return nil, ctx.Err()
	case "stuck": // ignores its context
		logger.InfoContext(ctx, "stuck")
		select {}
	case "levels":
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			logger.LogAttrs(ctx, level, "leveled", slog.String("at", level.String()), slog.Group("g", slog.Int64("big", 1<<53+1), slog.Bool("yes", true)))
		}
		return text(""), nil
	case "stderr": // prints the argument as it is
		_, err := fmt.Fprintln(os.Stderr, arg)
		return text(""), err
	case "env":
		value, ok := os.LookupEnv(arg)
		return text(fmt.Sprintf("%s %t", value, ok)), nil
	case "stdin":
		data, err := io.ReadAll(os.Stdin)
		return text(string(data)), err
	case "descriptor": // reads the inherited file with that number
		fd, err := strconv.Atoi(arg)
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(os.NewFile(uintptr(fd), "inherited"))
		return text(string(data)), err
	case "dial": // calls the host through the broker under that id
		id, err := strconv.ParseUint(arg, 10, 32)
		if err != nil {
			return nil, err
		}
		conn, err := plugin.Broker(ctx).Dial(ctx, uint32(id))
		if err != nil {
			return nil, err
		}
		resp, err := echopb.NewEchoClient(conn).Unary(ctx, text("by the broker"))
		return resp, errors.Join(err, conn.Close())
	case "user":
		return text(strconv.Itoa(os.Getuid())), nil
	case "child": // starts a process that holds the output; in a session of its own if asked
		return child(arg)
	case "nest": // is a host itself
		return nest(ctx, logger, arg)
	default:
		return h.Handler.Fail(ctx, req)
	}
}

func child(program string) (*echopb.Payload, error) {
	name, arg, _ := strings.Cut(program, " ")
	cmd := exec.Command(name, strings.Fields(arg)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return text(strconv.Itoa(cmd.Process.Pid)), nil
}

// nest launches the plugin of that path, with this process's own environment,
// and returns the plugin's information.
func nest(ctx context.Context, logger *slog.Logger, path string) (*echopb.Payload, error) {
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), "NESTED=yes")
	p, err := host.Launch(ctx, cmd, host.WithProtocols(echopb.EchoProtocol), host.WithTransports(unix.New()), host.WithLogger(logger))
	if err != nil {
		return nil, err
	}
	_, err = echopb.NewEchoClient(p).Unary(ctx, text("hello"))
	info := p.Info()
	if closeErr := p.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(map[string]any{"pid": info.PID, "security": info.Security})
	return &echopb.Payload{Data: data}, err
}
