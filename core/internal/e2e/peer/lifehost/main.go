//go:build linux

// Package lifehost is the command life-host. It is a host that the end-to-end tests
// interrupt and kill. It prints its state on standard output.
package lifehost

import (
	"context"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/examples/runners"
	"github.com/plugwire/plugwire/transport/unix"
)

// Main is the command.
func Main() {
	how := flag.String("how", "", "with hold: a request to the plugin's method Fail, made once it is ready")
	thread := flag.Bool("thread", false, "with hold: launch from a thread that ends then")
	netns := flag.Bool("netns", false, "with hold: launch from a thread in its own network namespace, which ends then")
	stdin := flag.Bool("stdin", false, "with hold: pass this host's standard input on")
	session := flag.Bool("setsid", false, "ask for the plugin to lead a session")
	group := flag.Bool("setpgid", false, "ask for the plugin to lead a process group")
	reaper := flag.Bool("reaper", false, "wait for all children, as the init of a container does")
	sum := flag.String("sha256", "", "the checksum that the plugin must have, in hexadecimal")
	nobody := flag.Bool("nobody", false, "run the plugin as the user of that name")
	by := flag.String("by", "", "start the plugin by this `program`")
	crun := flag.String("crun", "", "start the plugin in a container: a runners.Crun in `JSON`")
	flag.Usage = func() {
		_, _ = fmt.Fprintln(flag.CommandLine.Output(), `usage: life-host [flags] once|hold|close|drain|churn PLUGIN [ARGUMENT...]

  once   launch the plugin, stop it, exit
  hold   launch it, and wait to be killed
  close  launch it, stop it, and wait to be killed
  drain  launch it, be in a call, and finish that after SIGINT
  churn  launch it over and over, and leave it in all states`)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() < 2 {
		flag.Usage()
		os.Exit(2)
	}
	h := &lifeHost{template: exec.Command(flag.Arg(1), flag.Args()[2:]...)}
	h.template.SysProcAttr = &syscall.SysProcAttr{Setsid: *session, Setpgid: *group}
	if *nobody {
		const id = 65534
		h.template.SysProcAttr.Credential = &syscall.Credential{Uid: id, Gid: id}
	}
	if *stdin {
		h.opts = append(h.opts, host.WithStdin(os.Stdin))
	}
	if *by != "" {
		h.opts = append(h.opts, host.WithRunner(runners.By{Program: []string{*by}, Runner: host.LocalRunner()}))
	}
	if *crun != "" {
		r := &runners.Crun{Runner: host.LocalRunner()}
		if err := json.Unmarshal([]byte(*crun), r); err != nil {
			fmt.Fprintln(os.Stderr, "life-host:", err)
			os.Exit(2)
		}
		h.opts = append(h.opts, host.WithRunner(r))
	}
	if *reaper {
		go reap()
	}
	if *sum != "" {
		want, err := hex.DecodeString(*sum)
		if err != nil {
			fmt.Fprintln(os.Stderr, "life-host:", err)
			os.Exit(2)
		}
		h.opts = append(h.opts, host.WithChecksum(crypto.SHA256, want))
	}
	var err error
	switch mode := flag.Arg(0); mode {
	case "once":
		err = h.once()
	case "hold":
		err = h.hold(*how, *thread, *netns)
	case "close":
		err = h.close()
	case "drain":
		err = h.drain()
	case "churn":
		err = h.churn()
	default:
		err = fmt.Errorf("no mode %q", mode)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "life-host:", err)
		os.Exit(1)
	}
}

// reap collects the status of every child, even if another goroutine waits for
// it.
func reap() {
	for {
		if _, err := syscall.Wait4(-1, nil, 0, nil); err != nil {
			time.Sleep(time.Millisecond) // there are no children
		}
	}
}

// lifeHost launches one kind of plugin.
type lifeHost struct {
	template *exec.Cmd
	opts     []host.Option
}

func (h *lifeHost) launch(opts ...host.Option) (*host.Plugin, error) {
	opts = append(opts, h.opts...)
	opts = append(opts,
		host.WithProtocols(echopb.EchoProtocol),
		host.WithTransports(unix.New()),
		host.WithLogger(slog.New(slog.DiscardHandler)),
	)
	return host.Launch(context.Background(), h.template, opts...)
}

func (h *lifeHost) once() error {
	p, err := h.launch()
	if err != nil {
		return err
	}
	return p.Close()
}

// hold prints "started" when there is a process, and "ready" when the plugin is
// in the wanted state.
func (h *lifeHost) hold(how string, thread, netns bool) error {
	trace := host.WithTrace(&host.Trace{ProcessStarted: func(e host.ProcessStartedEvent) { fmt.Println("started", e.ID) }})
	var p *host.Plugin
	var err error
	launched := make(chan struct{})
	go func() {
		defer close(launched)
		if thread || netns {
			runtime.LockOSThread() // never unlocked, so the thread ends with the goroutine
		}
		if netns {
			if err = syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
				return
			}
		}
		p, err = h.launch(trace)
	}()
	<-launched
	if err != nil {
		return err
	}
	if how != "" {
		if _, err := echopb.NewEchoClient(p).Fail(context.Background(), &echopb.FailRequest{How: how}); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	<-p.Done()
	return fmt.Errorf("the plugin ended while its host held it: %w", p.Err())
}

// close prints "closing" when it begins to stop the plugin. Our own plugin has a child
// then.
func (h *lifeHost) close() error {
	p, err := h.launch()
	if err != nil {
		return err
	}
	// A plugin without this way has started its child before.
	_, _ = echopb.NewEchoClient(p).Fail(context.Background(), &echopb.FailRequest{How: "spawn"})
	fmt.Println("closing")
	if err := p.Close(); err != nil {
		return err
	}
	// The test kills the host, at the latest here. Without a goroutine that can go on, the
	// runtime would end it.
	<-time.After(time.Hour)
	return errors.New("nobody has killed the host")
}

// drain prints "ready" during a call. The call continues after SIGINT. When it
// is over and the plugin has stopped, drain prints "drained".
func (h *lifeHost) drain() error {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, syscall.SIGINT)
	p, err := h.launch()
	if err != nil {
		return err
	}
	chat, err := echopb.NewEchoClient(p).Chat(context.Background())
	if err != nil {
		return err
	}
	if err := exchange(chat); err != nil {
		return fmt.Errorf("before the interrupt: %w", err)
	}
	fmt.Println("ready")
	<-interrupts
	// So many round trips take longer than a signal takes to end a process.
	const roundTrips = 1000
	for range roundTrips {
		if err := exchange(chat); err != nil {
			return fmt.Errorf("after the interrupt: %w", err)
		}
	}
	if err := finish(chat); err != nil {
		return fmt.Errorf("at the end of the call: %w", err)
	}
	if err := p.Close(); err != nil {
		return err
	}
	fmt.Println("drained")
	return nil
}
