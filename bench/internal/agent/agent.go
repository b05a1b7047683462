// Package agent lets the host ask a plugin what it has used so far: processor time and
// allocations. It has a connection of its own beside the framework that is measured, and
// does nothing until the host asks.
package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/metrics"
	"runtime/pprof"
	"time"
)

// EnvAddress is the environment variable with the socket at which the host waits. A
// plugin without it has no agent: starts and memory are measured so.
const EnvAddress = "BENCH_AGENT"

// askTimeout bounds one question, on a machine that is very busy.
const askTimeout = time.Minute

// Usage is what a process has used since its start.
type Usage struct {
	CPU     time.Duration // user and system
	Objects uint64        // allocations
}

// Sub returns the difference to an earlier usage.
func (u Usage) Sub(earlier Usage) Usage {
	return Usage{u.CPU - earlier.CPU, u.Objects - earlier.Objects}
}

// Own returns the usage of this process.
func Own() (Usage, error) {
	cpu, err := processorTime()
	if err != nil {
		return Usage{}, err
	}
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
	metrics.Read(sample)
	return Usage{cpu, sample[0].Value.Uint64()}, nil
}

// request is a question of the host.
type request struct {
	Profile string `json:",omitempty"` // file of a processor profile to start
	Stop    bool   `json:",omitempty"` // end the profile
}

// reply is the plugin's answer.
type reply struct {
	Usage Usage
	Error string `json:",omitempty"`
}

// Serve answers the host in the background, if it wants an agent. When the host is gone,
// it ends the process: some frameworks let their plugins live on.
func Serve() {
	address := os.Getenv(EnvAddress)
	if address == "" {
		return
	}
	go func() {
		if err := serve(address); err != nil {
			fmt.Fprintln(os.Stderr, "bench agent:", err)
		}
		os.Exit(3)
	}()
}

func serve(address string) error {
	var d net.Dialer
	conn, err := d.DialContext(context.Background(), "unix", address)
	if err != nil {
		return err
	}
	var profile *os.File
	requests, replies := json.NewDecoder(bufio.NewReader(conn)), json.NewEncoder(conn)
	for {
		var req request
		if err := requests.Decode(&req); err != nil {
			return nil //nolint:nilerr // the host has ended
		}
		var rep reply
		if err := answer(req, &rep, &profile); err != nil {
			rep.Error = err.Error()
		}
		if err := replies.Encode(rep); err != nil {
			return err
		}
	}
}

// answer does what a request asks for. The profile is the running one.
func answer(req request, rep *reply, profile **os.File) (err error) {
	switch {
	case req.Profile != "":
		if *profile, err = os.Create(req.Profile); err != nil {
			return err
		}
		return pprof.StartCPUProfile(*profile)
	case req.Stop:
		pprof.StopCPUProfile()
		return (*profile).Close()
	default:
		rep.Usage, err = Own()
		return err
	}
}

// Client is the host's side.
type Client struct {
	ln       net.Listener
	conn     net.Conn // nil until the plugin's agent has connected
	replies  *json.Decoder
	requests *json.Encoder
}

// Listen waits for the agent of a plugin at a socket, whose path is for EnvAddress.
func Listen(ctx context.Context, path string) (*Client, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "unix", path)
	return &Client{ln: ln}, err
}

// Close ends the connection.
func (c *Client) Close() error {
	err := c.ln.Close()
	if c.conn != nil {
		err = errors.Join(err, c.conn.Close())
	}
	return err
}

// Usage returns what the plugin has used.
func (c *Client) Usage() (Usage, error) {
	rep, err := c.ask(request{})
	return rep.Usage, err
}

// Profile starts a processor profile of the plugin, which stop ends.
func (c *Client) Profile(path string) (stop func() error, err error) {
	_, err = c.ask(request{Profile: path})
	return func() error {
		_, err := c.ask(request{Stop: true})
		return err
	}, err
}

func (c *Client) ask(req request) (rep reply, err error) {
	deadline := time.Now().Add(askTimeout)
	if c.conn == nil {
		if ln, ok := c.ln.(*net.UnixListener); ok {
			if err := ln.SetDeadline(deadline); err != nil {
				return rep, err
			}
		}
		if c.conn, err = c.ln.Accept(); err != nil {
			return rep, fmt.Errorf("the plugin's agent has not connected: %w", err)
		}
		c.replies, c.requests = json.NewDecoder(bufio.NewReader(c.conn)), json.NewEncoder(c.conn)
	}
	if err := c.conn.SetDeadline(deadline); err != nil {
		return rep, err
	}
	if err := c.requests.Encode(req); err != nil {
		return rep, err
	}
	if err := c.replies.Decode(&rep); err != nil {
		return rep, err
	}
	if rep.Error != "" {
		return rep, errors.New("the plugin's agent: " + rep.Error)
	}
	return rep, nil
}
