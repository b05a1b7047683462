package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Name is the name of the probe's program, without its extension. A file of this name,
// with a scene beside it, is the probe.
const Name = "plugwire-probe"

// sceneFile is the file with the scene, beside the probe's program.
const sceneFile = "scene.json"

// childArg is the argument of a process that the probe leaves behind.
const childArg = "child"

// Program returns the path of the probe in a directory.
func Program(dir string) string {
	name := Name
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(dir, name)
}

// WriteScene writes the scene for the probe in a directory.
func WriteScene(dir string, s *Scene) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, sceneFile), text, 0o600)
}

// Main plays the scene beside this process's program, and does not return then. It returns
// at once if this process is not the probe.
func Main() {
	base := filepath.Base(os.Args[0])
	if strings.TrimSuffix(base, ".exe") != Name {
		return
	}
	dir := filepath.Dir(os.Args[0])
	if self, err := os.Executable(); err == nil && filepath.Base(self) == base {
		dir = filepath.Dir(self) // the host may have changed the directory
	}
	text, err := os.ReadFile(filepath.Join(dir, sceneFile))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var scene Scene
	if err == nil {
		err = json.Unmarshal(text, &scene)
	}
	if err == nil {
		err = play(&scene)
	}
	fmt.Fprintln(os.Stderr, "plugwire-probe:", err)
	os.Exit(1)
}

// player is the probe in a scene.
type player struct {
	scene  *Scene
	env    Env
	offer  *Offer
	report *reporter
	// weighed gets a value when the host's memory was measured.
	weighed <-chan struct{}

	transport, security, wire string
	multiplexed               bool             // yamux carries everything
	own                       *tls.Certificate // nil without TLS
	served                    *tls.Certificate // that of the server, which may be another
	hosts                     *x509.Certificate
	listener                  net.Listener
	address                   string

	calls    chan net.Conn // connections for grpc's server
	first    sync.Once
	stdin    chan struct{} // closed when standard input was read
	extra    chan struct{} // closed when the extras are done
	stopping chan struct{} // closed when the probe stops
	stop     sync.Once

	mu    sync.Mutex // guards conns
	conns map[net.Conn]struct{}
}

// play returns only with an error, before the probe serves.
func play(scene *Scene) error {
	control, err := net.Dial("unix", scene.Control) //nolint:noctx // a socket of this machine
	if err != nil {
		return err
	}
	weighed := make(chan struct{})
	go func() { // until the end of the process
		for ack := make([]byte, 1); ; weighed <- struct{}{} {
			if _, err := control.Read(ack); err != nil {
				os.Exit(0) // the test is over
			}
		}
	}()
	signal.Ignore(os.Interrupt)
	child := len(os.Args) > 1 && os.Args[1] == childArg
	p := &player{
		scene: scene, env: Env(os.Environ()), report: newReporter(control), weighed: weighed,
		calls: make(chan net.Conn), stdin: make(chan struct{}), extra: make(chan struct{}), stopping: make(chan struct{}),
		conns: map[net.Conn]struct{}{},
	}
	p.offer, err = ParseOffer(p.env) // a rule reports what is wrong with the offer
	if err != nil {
		p.offer = &Offer{}
	}
	p.report.event(Event{Kind: Started, Process: p.process(child)})
	p.watchSignals(child)
	if child {
		_, _ = os.Stdin.Write([]byte{1}) // startChild reads it, or has gone
		select {}                        // until the control connection ends
	}
	go p.readStdin()
	p.watchLifeline()
	p.report.event(Event{Kind: Failed, Text: p.run().Error()}) // it returns only if it fails
	p.leave(1)
	return nil
}

// skipError is the reason why a scene does not fit the host.
type skipError struct{ reason string }

func (e *skipError) Error() string { return e.reason }

func skip(format string, args ...any) error { return &skipError{fmt.Sprintf(format, args...)} }

// run plays the scene.
func (p *player) run() error {
	if err := p.choose(); err != nil {
		if reason, ok := errors.AsType[*skipError](err); ok {
			p.report.event(Event{Kind: Skip, Text: reason.reason})
			p.leave(1)
		}
		return err
	}
	if p.scene.Stop == Leftover {
		if err := startChild(); err != nil {
			return err
		}
	}
	if p.scene.Start == NoListener {
		_ = p.listener.Close() // the path and the port go with it
	}
	if err := p.print(); err != nil {
		return err
	}
	switch p.scene.Start { //nolint:exhaustive // others begin later
	case Leave:
		p.weigh()
		p.leave(3)
	case Silent, NoListener:
		select {} // until the host or the test ends the process
	}
	if p.scene.Raw == NotRaw && p.wire == wireH2 {
		go p.serveGRPC()
	}
	for number := int64(1); ; number++ {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			select {} // the probe leaves, or lives on without connections
		}
		if err != nil {
			return err
		}
		go p.accept(conn, number)
	}
}

// startChild starts a process that holds the output, and waits until the test knows it.
func startChild() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	known, childEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, childArg)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = childEnd, os.Stdout, os.Stderr
	if err := errors.Join(cmd.Start(), childEnd.Close()); err != nil {
		return errors.Join(err, known.Close())
	}
	_, err = known.Read(make([]byte, 1)) // an error is the end of the child
	return errors.Join(err, known.Close())
}

// weigh waits until the host's memory was measured.
func (p *player) weigh() {
	p.report.event(Event{Kind: Weighed})
	<-p.weighed
}

// leave ends the process in order.
func (p *player) leave(code int) {
	if p.listener != nil {
		_ = p.listener.Close()
	}
	p.report.event(Event{Kind: Leaving, N: int64(code)})
	p.report.flush()
	os.Exit(code)
}

// end lets the answers get out, and leaves.
func (p *player) end() {
	p.stop.Do(func() {
		close(p.stopping)
		time.AfterFunc(lingerTime, func() { p.leave(0) }) // the host's connections end it sooner
	})
}

// lingerTime is how long the probe lives after it has answered Shutdown, so that the
// answer arrives.
const lingerTime = 20 * time.Millisecond

// watchSignals reports SIGTERM, and ends the process for it if the scene wants that.
func (p *player) watchSignals(child bool) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() { // until the end of the process
		for range signals {
			p.report.event(Event{Kind: Signal, Text: "SIGTERM"})
			if !child && p.scene.Stop != Stay && p.scene.Stop != Deaf {
				p.leave(0)
			}
		}
	}()
}

// readStdin reports what is on standard input.
func (p *player) readStdin() {
	defer close(p.stdin)
	buf := make([]byte, 64)
	if n, _ := os.Stdin.Read(buf); n > 0 { // an error is what is expected
		p.report.event(Event{Kind: Seen, Text: "stdin " + string(buf[:n])})
	}
}

// watchLifeline ends the process, with its group, when the host has died.
func (p *player) watchLifeline() {
	fd, err := strconv.Atoi(p.offer.Get("lifeline"))
	if err != nil || fd < 3 || p.scene.Foreign {
		return
	}
	f := os.NewFile(uintptr(fd), "lifeline")
	go func() { // until the end of the process
		n, err := f.Read(make([]byte, 1))
		if n > 0 {
			p.report.event(Event{Kind: Wrong, Text: "the host has written to the lifeline"})
			return
		}
		if errors.Is(err, io.EOF) {
			p.report.event(Event{Kind: HostEnded})
			endGroup()
			p.leave(0)
		}
	}()
}

// process describes this process.
func (p *player) process(child bool) *Process {
	described := &Process{PID: os.Getpid(), Child: child, Env: p.env}
	if child {
		return described
	}
	described.Leader, described.Known = leadsSession()
	described.Pipes = inspectPipes(p.offer)
	if dir := p.env.Get(EnvSocketDir); dir != "" {
		described.SocketDir = inspectDir(dir)
	}
	return described
}

// inspectDir says what is wrong with the directory for sockets.
func inspectDir(dir string) string {
	info, err := os.Lstat(dir)
	switch {
	case !filepath.IsAbs(dir):
		return "the path " + dir + " is not absolute"
	case err != nil:
		return err.Error()
	case !info.IsDir():
		return dir + " is not a directory"
	case hasUnix && runtime.GOOS != "windows" && info.Mode().Perm() != 0o700:
		return fmt.Sprintf("%s has mode %04o", dir, info.Mode().Perm())
	}
	return ""
}

// reporter sends events to the test.
type reporter struct {
	mu      sync.Mutex // guards the rest
	conn    net.Conn
	encoder *json.Encoder
}

func newReporter(conn net.Conn) *reporter {
	return &reporter{conn: conn, encoder: json.NewEncoder(conn)}
}

// event sends an event. If the test has gone, so will this process.
func (r *reporter) event(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.encoder.Encode(e)
}

// flush waits until all events are sent, and sends no more.
func (r *reporter) flush() { r.mu.Lock() }

// keep notes a connection, so that it can be cut.
func (p *player) keep(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[conn] = struct{}{}
}

// forget closes a connection.
func (p *player) forget(conn net.Conn) {
	p.mu.Lock()
	delete(p.conns, conn)
	p.mu.Unlock()
	_ = conn.Close()
}

// hangUp closes all connections, and takes no more.
func (p *player) hangUp() {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
}

// pause waits, unless the probe stops.
func (p *player) pause(ctx context.Context, done <-chan struct{}, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-p.stopping:
	case <-ctx.Done():
	}
}
