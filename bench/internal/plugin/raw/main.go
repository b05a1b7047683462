// Command raw is the plugin of the raw peers.
package main

import (
	"net"

	"github.com/plugwire/plugwire/bench/internal/agent"
	"github.com/plugwire/plugwire/bench/internal/launch"
	"github.com/plugwire/plugwire/bench/internal/messages"
	"github.com/plugwire/plugwire/bench/internal/rawproto"
	"github.com/plugwire/plugwire/bench/internal/work"
)

func main() {
	agent.Serve()
	launch.Exit(serve())
}

func serve() error {
	ln, err := launch.Listen()
	if err != nil {
		return err
	}
	var mixed work.SleepyHandler
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		go serveConn(conn, &mixed)
	}
}

func serveConn(nc net.Conn, mixed *work.SleepyHandler) {
	c := rawproto.New(nc)
	for {
		h, err := c.ReadHeader()
		if err == nil {
			err = handle(c, h, mixed)
		}
		if err != nil {
			_ = nc.Close() // the host has ended the connection, or sees its end
			return
		}
	}
}

func handle(c *rawproto.Conn, h rawproto.Header, mixed *work.SleepyHandler) error {
	switch h.Op {
	case rawproto.ServerStream:
		p := make([]byte, h.B)
		for range h.A {
			if err := c.WriteFrame(p); err != nil {
				return err
			}
		}
		return c.Flush()
	case rawproto.ClientStream:
		for range h.A {
			if _, err := c.ReadFrame(); err != nil {
				return err
			}
		}
		return reply(c, nil)
	}
	p, err := c.ReadFrame()
	if err != nil {
		return err
	}
	switch h.Op {
	case rawproto.Wait:
		work.Unary(&messages.Payload{WaitMicros: h.B})
	case rawproto.Compute:
		work.Unary(&messages.Payload{ComputeMicros: h.B})
	case rawproto.Mixed:
		mixed.Call(nil)
	case rawproto.Callback:
		if err := reply(c, p); err != nil {
			return err
		}
		if p, err = c.ReadFrame(); err != nil {
			return err
		}
	}
	return reply(c, p)
}

func reply(c *rawproto.Conn, p []byte) error {
	if err := c.WriteFrame(p); err != nil {
		return err
	}
	return c.Flush()
}
