// Package transporttest is the conformance suite for implementations of
// [transport.Transport]. One call runs all of it:
//
//	func TestConformance(t *testing.T) {
//		transporttest.Run(t, unix.New)
//	}
package transporttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plugwire/plugwire/core/transport"
)

// limit bounds one check. The slowest takes a few seconds under the race detector,
// and ten times as long on a machine that is busy with other things. A transport
// that needs more than the limit hangs.
const limit = 2 * time.Minute

// Run checks that a transport keeps the contract of [transport.Transport], in
// every version that it speaks. newTransport returns a fresh value on each
// call: the two ends of a connection never share a value, because in use they
// are two processes.
//
// A [transport.Native] transport is run with connections that Dial opens, and
// again with streams of a session, in checks whose names begin with Session;
// both sides have one-time certificates. A [transport.Preparer] is run with the
// connections that it prepares, in checks whose names begin with Prepared; it
// gets its files under new descriptors, as a process inherits them. These
// checks are skipped on Windows, where a process cannot inherit files. The
// suite passes no Logger.
//
// Each check must also end within two minutes and leave no goroutine and no
// file behind. Run sets the variables that name the directory for temporary
// files, so t must not be parallel.
func Run[T transport.Transport](t *testing.T, newTransport func() T) {
	t.Helper()
	run(t, func() transport.Transport { return newTransport() }, limit)
}

func run(t *testing.T, newTransport func() transport.Transport, limit time.Duration) {
	t.Helper()
	if !t.Run("Identity", func(t *testing.T) { checkIdentity(t, newTransport(), newTransport()) }) {
		return
	}
	for _, version := range newTransport().Versions() {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			for _, w := range ways(newTransport()) {
				runWay(t, w, version, newTransport, limit)
			}
		})
	}
}

func runWay(t *testing.T, w way, version int, newTransport func() transport.Transport, limit time.Duration) {
	t.Helper()
	if w == prepared && !canInherit {
		t.Skip("a process of this system cannot inherit the files of a prepared start")
	}
	for _, c := range checks {
		if c.ways&w != 0 {
			t.Run(w.prefix()+c.name, func(t *testing.T) {
				newEnv(t, w, version, newTransport).run(c.run, limit)
			})
		}
	}
	t.Run(w.prefix()+netTest, func(t *testing.T) {
		checkNetTest(newEnv(t, w, version, newTransport))
	})
}

// check is a part of the suite, for some ways to connect.
type check struct {
	name string
	ways way
	run  func(*env)
}

// checks is the suite, simplest first: if several checks fail, look at the
// first.
var checks = []check{
	{"Files", prepared, checkFiles},
	{"Echo", anyWay, checkEcho},
	{"Address", byAddress, checkAddress},
	{"Listeners", byAddress, checkListeners},
	{"Reopen", dialing, checkReopen},
	{"Directory", byAddress, checkDirectory},
	{"Ports", byAddress, checkPorts},
	{"UnknownVersion", dialing, checkUnknownVersion},
	{"GarbageAddress", dialing, checkGarbageAddress},
	{"NobodyListening", dialing, checkNobodyListening},
	{"ContextEndedBefore", dialing, checkContextEndedBefore},
	{"ContextEndsAfter", anyWay, checkContextEndsAfter},
	{"NoTLS", bySession, checkNoTLS},
	{"State", bySession, checkState},
	{"WrongCertificate", bySession, checkWrongCertificate},
	{"RefusedFiles", prepared, checkRefusedFiles},
	{"OneConnection", prepared, checkOneConnection},
	{"ClosedUnused", prepared, checkClosedUnused},
	{"ListenerClose", anyWay, checkListenerClose},
	{"CloseGivesEOF", anyWay, checkCloseGivesEOF},
	{"CloseUnblocks", anyWay, checkCloseUnblocks},
	{"CloseTwice", anyWay, checkCloseTwice},
	{"PeerClosed", anyWay, checkPeerClosed},
	{"HalfClose", anyWay, checkHalfClose},
	{"Deadlines", anyWay, checkDeadlines},
	{"SlowReader", anyWay, checkSlowReader},
	{"Transfer1MiB", anyWay, checkTransfer(1 << 20)},
	{"Transfer64MiB", anyWay, checkTransfer(64 << 20)},
	{"ManyConnections", dialing, checkManyConnections},
	{"BusyConnections", dialing, checkBusyConnections},
	{"UnreadStreams", bySession, checkUnreadStreams},
	{"ShortStreams", bySession, checkShortStreams},
	{"Close", bySession, checkSessionClose},
}

// netTest is the name of the check that runs the tests of x/net. Each of these
// is a subtest and has a bound of its own.
const netTest = "NetTest"

// env is the environment of one check. Only the check's own goroutine may call
// its methods, unless a method's comment allows more.
type env struct {
	*testing.T
	way     way
	version int
	tls     tlsPair
	// plugin listens and host dials.
	plugin, host transport.Transport
	// dir is the kind of directory that a host makes, tmp the directory for
	// temporary files. Both are empty at the start and must be empty at the
	// end.
	dir, tmp string
	// cleanups run in reverse order when the check is over.
	cleanups []func()
}

func newEnv(t *testing.T, w way, version int, newTransport func() transport.Transport) *env {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if !t.Failed() {
			verifyNone(t, before)
		}
	})
	e := &env{
		T: t, way: w, version: version,
		plugin: newTransport(), host: newTransport(),
		dir: emptyDir(t), tmp: emptyDir(t),
	}
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} { // Unix, then Windows
		t.Setenv(name, e.tmp)
	}
	if _, ok := e.host.(transport.Native); ok {
		var err error
		if e.tls, err = newTLSPair(); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// leakTime is how long goroutines may take to end after the check has told them
// to.
const leakTime = 20 * time.Second

// verifyNone is goleak's function with the patience that a busy machine needs.
func verifyNone(t *testing.T, before goleak.Option) {
	t.Helper()
	for deadline := time.Now().Add(leakTime); ; {
		err := goleak.Find(before)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Error(err)
			return
		}
	}
}

// emptyDir returns a new directory that must be empty again when the test
// ends. Its path is short, unlike that of t.TempDir, because the path of a
// socket is limited to about a hundred bytes.
func emptyDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tt-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			wantEmpty(t, dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	for _, entry := range entries {
		t.Errorf("left behind in %s: %s", dir, entry.Name())
	}
}

// run runs a check and its cleanups in a goroutine. If they take too long, the
// test fails with the stacks, which show where they hang.
func (e *env) run(check func(*env), limit time.Duration) {
	e.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer e.cleanup() // also after FailNow
		check(e)
	}()
	select {
	case <-done:
	case <-time.After(limit):
		stacks := make([]byte, 64<<10) // some dozens of goroutines
		stacks = stacks[:runtime.Stack(stacks, true)]
		e.Fatalf("the check has not ended after %v:\n%s", limit, stacks)
	}
}

func (e *env) cleanup() {
	for len(e.cleanups) > 0 {
		last := len(e.cleanups) - 1
		f := e.cleanups[last]
		e.cleanups = e.cleanups[:last]
		f()
	}
}

// keep closes c when the check is over. c may be closed by then.
func (e *env) keep(c io.Closer) {
	e.cleanups = append(e.cleanups, func() {
		if err := closeAgain(c); err != nil {
			e.Errorf("Close: %v", err)
		}
	})
}

// closeAgain closes c, which may be closed already.
func closeAgain(c io.Closer) error {
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// refused dials and returns the error. Dial must fail.
func (e *env) refused(ctx context.Context, address string) error {
	e.Helper()
	conn, err := e.dial(ctx, address)
	if err == nil {
		e.keep(conn)
		e.Fatalf("Dial(%.80q): no error", address)
	}
	return err
}

// open opens a connection to ln.
func (e *env) open(ctx context.Context, ln *link) net.Conn {
	e.Helper()
	conn, err := ln.open(ctx)
	if err != nil {
		e.Fatalf("Dial: %v", err)
	}
	e.keep(conn)
	return conn
}

// pair opens a connection to ln and returns both ends.
func (e *env) pair(ln *link) (dialed, accepted net.Conn) {
	e.Helper()
	dialed, accepted, err := e.connect(ln)
	if err != nil {
		e.Fatal(err)
	}
	e.keep(dialed)
	e.keep(accepted)
	return dialed, accepted
}

// connect opens a connection to ln. The caller closes both ends. connect is safe for
// concurrent use.
func (e *env) connect(ln *link) (dialed, accepted net.Conn, err error) {
	var conn net.Conn
	accept := start(func() (err error) {
		conn, err = ln.Accept()
		return err
	})
	dialed, err = ln.open(e.Context())
	if err != nil {
		return nil, nil, fmt.Errorf("dial: %w", err) // Accept ends with the listener
	}
	if err := <-accept; err != nil {
		return nil, nil, errors.Join(fmt.Errorf("accept: %w", err), dialed.Close())
	}
	return dialed, conn, nil
}

// eachWay runs f twice, on two new connections: once from the end that dialed,
// once from the end that accepted.
func (e *env) eachWay(f func(local, remote net.Conn)) {
	e.Helper()
	dialed, accepted := e.pair(e.listen())
	f(dialed, accepted)
	dialed, accepted = e.pair(e.listen())
	f(accepted, dialed)
}

// echo accepts connections from ln and sends back what they receive, until the
// check is over. Dial them only after this call.
func (e *env) echo(ln *link) {
	var conns sync.WaitGroup
	accept := start(func() error {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return err
			}
			conns.Go(func() {
				_, _ = io.Copy(conn, conn) // the other end notices what fails here
				_ = conn.Close()
			})
		}
	})
	e.cleanups = append(e.cleanups, func() {
		if err := closeAgain(ln); err != nil {
			e.Errorf("Close of the listener: %v", err)
		}
		if err := <-accept; !errors.Is(err, net.ErrClosed) {
			e.Errorf("Accept after Close: %v, want net.ErrClosed", err)
		}
		conns.Wait()
	})
}

// start runs f in a goroutine. Its result must be received.
func start(f func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- f() }()
	return result
}

// yield lets goroutines that were just started run until they block. Nothing
// depends on it: the check must hold whether or not they have blocked. Blocked
// goroutines are the harder case.
func yield() {
	for range 100 {
		runtime.Gosched()
	}
}
