// Command multiservice-host starts the plugin with two services on a database. It creates users, lets one of them
// store values, and queries the values from the next process of the plugin.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/plugins/multiservice/multi"
	"github.com/plugwire/plugwire/plugins/multiservice/service"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

func main() {
	log.SetFlags(0)
	dir := flag.String("dir", "", "`directory` of the database, which is created if it does not exist (default a temporary one)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *dir)
	stop()
	if err != nil {
		log.Fatal("multiservice-host: ", err)
	}
}

func run(ctx context.Context, dir string) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "multiservice-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if err := withPlugin(ctx, dir, write); err != nil {
		return err
	}
	return withPlugin(ctx, dir, read)
}

// withPlugin starts the plugin on the directory, and stops it when the work is done.
func withPlugin(ctx context.Context, dir string, work func(context.Context, *host.Plugin) error) error {
	cmd, err := pluginCommand(ctx, "-dir", dir)
	if err != nil {
		return err
	}
	p, err := host.Launch(ctx, cmd,
		host.WithProtocols(multi.MultiProtocol),
		host.WithServices(multi.ServeAuditLog(auditLog{})), // the plugin calls the host
		host.WithTransports(unix.New(), quic.New(), tcp.New()),
		host.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))), // the plugin's records come here
		host.WithMaxMessageSize(service.MaxMessageSize))
	if err != nil {
		return err // if the database does not open, it says why
	}
	return errors.Join(work(ctx, p), p.Close()) // Close waits until the plugin has closed its database
}

// auditLog is the service of the host.
type auditLog struct{}

// Record prints what the plugin has changed.
func (auditLog) Record(_ context.Context, request *multi.RecordRequest) (*multi.RecordResponse, error) {
	fmt.Printf("audit: %q created %s, %v\n", request.GetCaller(), request.GetCreated().GetName(), request.GetCreated().GetRole())
	return &multi.RecordResponse{}, nil
}

// write creates users, and stores values on behalf of one of them.
func write(ctx context.Context, p *host.Plugin) error {
	users, data := multi.NewUserServiceClient(p), multi.NewDataServiceClient(p) // two services, one connection
	for _, request := range []*multi.CreateUserRequest{
		{Name: "ann", Role: multi.Role_ROLE_ADMIN}, // the first user needs no caller
		{Name: "bob", Role: multi.Role_ROLE_WRITER, Caller: "ann"},
		{Name: "joe", Role: multi.Role_ROLE_READER, Caller: "ann"},
	} {
		if _, err := users.GetUser(ctx, &multi.GetUserRequest{Name: request.GetName(), Caller: request.GetName()}); err == nil {
			continue // the directory has a database from before
		}
		if _, err := users.CreateUser(ctx, request); err != nil {
			return err
		}
	}

	const callers = 64 // those at the same time share a transaction
	began := time.Now()
	var calls sync.WaitGroup
	failures := make([]error, callers)
	for i := range callers {
		calls.Go(func() {
			_, failures[i] = data.StoreData(ctx, &multi.StoreRequest{Caller: "bob", Key: fmt.Sprintf("greetings/%02d", i), Value: []byte("hello, world")})
		})
	}
	calls.Wait()
	if err := errors.Join(failures...); err != nil {
		return err
	}
	fmt.Printf("bob stored %d values in %v\n", callers, time.Since(began).Round(time.Millisecond))

	// The code of an error is for programs. The details name all fields that are wrong.
	_, err := data.StoreData(ctx, &multi.StoreRequest{Caller: "joe", Key: "greetings/00"})
	fmt.Printf("joe may not: %v: %s\n", status.Code(err), status.Convert(err).Message())
	_, err = users.CreateUser(ctx, &multi.CreateUserRequest{Name: "é", Caller: "a b"})
	for _, detail := range status.Convert(err).Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			for _, violation := range bad.GetFieldViolations() {
				fmt.Printf("wrong %s: %s\n", violation.GetField(), violation.GetDescription())
			}
		}
	}
	return nil
}

// read counts the stored values, a page at a time.
func read(ctx context.Context, p *host.Plugin) error {
	request := &multi.QueryRequest{Caller: "joe", Prefix: "greetings/", PageSize: 20}
	for entries, pages := 0, 1; ; pages++ {
		page, err := multi.NewDataServiceClient(p).QueryData(ctx, request)
		if err != nil {
			return err
		}
		entries += len(page.GetEntries())
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			fmt.Printf("the next process has %d values on %d pages\n", entries, pages)
			return nil
		}
	}
}
