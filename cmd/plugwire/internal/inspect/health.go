package inspect

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/target"
)

// healthService is the name under which every plugin has its health, on go-plugin too.
const healthService = "plugin"

// The healths that are not a plugin's own words.
const (
	healthNone = "not served"
)

// healthOf asks for the health, in small letters as people read it: serving, not serving.
func healthOf(ctx context.Context, p *target.Plugin) string {
	resp, err := healthpb.NewHealthClient(p).Check(ctx, &healthpb.HealthCheckRequest{Service: healthService})
	switch {
	case status.Code(err) == codes.Unimplemented || status.Code(err) == codes.NotFound:
		return healthNone
	case err != nil:
		s := status.Convert(err)
		return "no answer: " + s.Message()
	default:
		return words(resp.GetStatus())
	}
}

func words(s healthpb.HealthCheckResponse_ServingStatus) string {
	return strings.ToLower(strings.ReplaceAll(s.String(), "_", " "))
}

// change is a health and when it was seen, in JSON.
type change struct {
	Time   time.Time `json:"time"`
	Health string    `json:"health"`
}

// watchHealth prints the health each time it changes, until the context or the plugin
// ends. A person ends it with Ctrl-C, which is not an error.
func (c *command) watchHealth(ctx context.Context, p *target.Plugin) error {
	last := ""
	show := func(health string) error {
		if health == last {
			return nil
		}
		last = health
		now := time.Now()
		if c.out.JSON {
			return c.out.Object(change{now, health})
		}
		return c.out.Textf("%s  %s\n", now.Format(time.TimeOnly), health)
	}
	err := c.stream(ctx, p, show)
	if status.Code(err) == codes.Unimplemented {
		err = c.poll(ctx, p, show)
	}
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the person has ended the watching
	}
	return ended(p, err)
}

// stream uses the health service's own Watch.
func (c *command) stream(ctx context.Context, p *target.Plugin, show func(string) error) error {
	stream, err := healthpb.NewHealthClient(p).Watch(ctx, &healthpb.HealthCheckRequest{Service: healthService})
	if err != nil {
		return err
	}
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := show(words(resp.GetStatus())); err != nil {
			return err
		}
	}
}

// pollInterval is how often a plugin without Watch is asked.
const pollInterval = time.Second

// poll asks again and again.
func (c *command) poll(ctx context.Context, p *target.Plugin, show func(string) error) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		checkCtx, cancel := context.WithTimeout(ctx, c.timeout)
		health := healthOf(checkCtx, p)
		cancel()
		if err := show(health); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-p.Done():
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}
