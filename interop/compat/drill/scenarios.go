//go:build unix

package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"hash"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// scenarios are named after the defects of go-plugin that they show.
var scenarios = map[string]func(host) string{
	"d1": killStuck, "d2": killHeld, "d3": dieAsHost, "d4": certificateUnasked, "d5": badLog, "d6": inherited,
	"d7": longLine, "d8": largeRequest, "d9": leftSocket, "d10": lateDial, "d11": startAgain, "d12": initFails,
	"d13": callInFlight, "d14": killStarting, "d15": reattachVersion, "d16": noBroker, "d17": knockAgain, "d18": leakedProcess,
	"d19": changedProgram, "d20": lostTail, "d21": printAfterServe, "d22": longLogLine,
	"panic": handlerPanics,
}

// killPatience is how long Kill may take. The drill is told to give plugins two seconds.
const killPatience = 10 * time.Second

func verdict(ok bool, good, bad string) string {
	if ok {
		return good
	}
	return bad
}

func killStuck(h host) string {
	c := plugin.NewClient(h.config())
	d := must(connect(c))
	pid := must(do(d.ClientConn, "pid"))
	go do(d.ClientConn, "stop") //nolint:errcheck // it never answers
	awaitState(pid, "T")
	killed := within(killPatience, c.Kill)
	if !killed {
		_ = syscall.Kill(number(pid), syscall.SIGKILL)
	}
	return verdict(killed, "killed", "Kill hangs")
}

// awaitState waits until the process is in a state of /proc/PID/stat.
func awaitState(pid, state string) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if stateOf(pid) == state {
			return
		}
	}
}

// stateOf returns the state of a process, empty if it has gone.
func stateOf(pid string) string {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	state, _, _ := strings.Cut(rest, " ")
	return state
}

func number(pid string) (n int) {
	_, _ = fmt.Sscan(pid, &n)
	return n
}

func killHeld(h host) string {
	c := plugin.NewClient(h.config())
	d := must(connect(c))
	must(do(d.ClientConn, "spawn"))
	return verdict(within(killPatience, c.Kill), "killed", "Kill hangs")
}

func dieAsHost(h host) string {
	c := plugin.NewClient(h.config())
	d := must(connect(c))
	fmt.Println("plugin:", must(do(d.ClientConn, "pid")), must(c.Start()).String())
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func certificateUnasked(h host) string {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}}
	der := must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	c := plugin.NewClient(h.script(fmt.Sprintf("echo '1|3|unix|/nothing|grpc|%s'; exec sleep 20", base64.RawStdEncoding.EncodeToString(der))))
	defer c.Kill()
	_, err := c.Client()
	return verdict(err != nil, "refused", "accepted")
}

func badLog(h host) string {
	c := plugin.NewClient(h.script(fmt.Sprintf(`echo '{"@message":1,"@level":2,"@timestamp":3}' >&2; exec %s plugin`, h.program)))
	defer c.Kill()
	d := must(connect(c))
	return must(do(d.ClientConn, "echo:works"))
}

func inherited(h host) string {
	// This host is a plugin itself, and its own host has AutoMTLS.
	first := plugin.NewClient(h.config())
	cert := must(certificatePEM())
	must("", os.Setenv("PLUGIN_CLIENT_CERT", cert))
	defer first.Kill()
	d := must(connect(first))
	return must(do(d.ClientConn, "echo:works"))
}

func longLine(h host) string {
	c := plugin.NewClient(h.config())
	defer c.Kill()
	d := must(connect(c))
	for range 3 {
		flooded := within(8*time.Second, func() { _, _ = do(d.ClientConn, "flood:300000") })
		if !flooded {
			_ = syscall.Kill(c.ReattachConfig().Pid, syscall.SIGKILL)
			return "the plugin hangs"
		}
	}
	return "works"
}

func largeRequest(h host) string {
	c := plugin.NewClient(h.config())
	defer c.Kill()
	d := must(connect(c))
	size, err := do(d.ClientConn, "size:"+strings.Repeat("x", 5<<20))
	if err != nil {
		return "refused"
	}
	return size
}

func leftSocket(h host) string {
	cfg := h.config()
	cfg.GRPCBrokerMultiplex = true
	c := plugin.NewClient(cfg)
	must(connect(c))
	addr := must(c.Start())
	c.Kill()
	_, err := os.Stat(addr.String())
	return verdict(err != nil, "nothing is left", "the socket is left")
}

func lateDial(h host) string {
	c := plugin.NewClient(h.config())
	defer c.Kill()
	d := must(connect(c))
	id := d.broker.NextId()
	go d.broker.AcceptAndServe(id, serveHost)
	time.Sleep(6 * time.Second) // go-plugin forgets an offer after five
	answer, err := do(d.ClientConn, fmt.Sprint("dial:", id))
	if err != nil {
		return "lost"
	}
	return answer
}

func startAgain(h host) string {
	flag := filepath.Join(os.TempDir(), "failed-once")
	c := plugin.NewClient(h.config("fails-once", flag))
	defer c.Kill()
	if _, err := c.Start(); err == nil {
		return "the first start did not fail"
	}
	d, err := connect(c)
	if err != nil {
		return "cannot start again"
	}
	return must(do(d.ClientConn, "echo:works"))
}

func initFails(h host) string {
	cmd := exec.Command(h.program, "plugin")
	cmd.Env = append(os.Environ(), handshake.MagicCookieKey+"="+handshake.MagicCookieValue, "PLUGIN_PROTOCOL_VERSIONS=3", "PLUGIN_UNIX_SOCKET_DIR=/nothing/here")
	err := cmd.Run()
	return fmt.Sprintf("exit code %d", cmd.ProcessState.ExitCode()) + verdict(err == nil || cmd.ProcessState.Exited(), "", "?")
}

func callInFlight(h host) string {
	var stderr lockedBuffer
	cfg := h.config()
	cfg.Stderr = &stderr
	c := plugin.NewClient(cfg)
	d := must(connect(c))
	answered := make(chan string, 1)
	go func() {
		answer, err := do(d.ClientConn, "sleep:700")
		if err != nil {
			answer = "cut"
		}
		answered <- answer
	}()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(stderr.String(), "asleep") && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	c.Kill()
	return <-answered
}

func killStarting(h host) string {
	cfg := h.config("mute")
	cfg.StartTimeout = 8 * time.Second
	said, saying := io2pipe()
	cfg.Stderr = saying
	c := plugin.NewClient(cfg)
	go c.Start() //nolint:errcheck // it is killed
	<-said
	return verdict(within(4*time.Second, c.Kill), "killed", "Kill waits for the start")
}

// signalWriter closes a channel at the first write.
type signalWriter struct {
	once sync.Once
	said chan struct{}
}

func (w *signalWriter) Write(b []byte) (int, error) {
	w.once.Do(func() { close(w.said) })
	return len(b), nil
}

func io2pipe() (<-chan struct{}, *signalWriter) {
	w := &signalWriter{said: make(chan struct{})}
	return w.said, w
}

func reattachVersion(h host) string {
	first := plugin.NewClient(h.config())
	defer first.Kill()
	must(connect(first))
	cfg := h.config()
	cfg.Cmd = nil
	cfg.Reattach = first.ReattachConfig()
	second := plugin.NewClient(cfg)
	d := must(connect(second))
	must(do(d.ClientConn, "echo:works"))
	return fmt.Sprintf("version %d of %d", second.NegotiatedVersion(), first.NegotiatedVersion())
}

func noBroker(h host) string {
	// A host that is not built on go-plugin calls a method that accepts.
	cmd := exec.Command(h.program, "plugin")
	cmd.Env = append(os.Environ(), handshake.MagicCookieKey+"="+handshake.MagicCookieValue, "PLUGIN_PROTOCOL_VERSIONS=3")
	stdout := must(cmd.StdoutPipe())
	must("", cmd.Start())
	defer cmd.Process.Kill() //nolint:errcheck // it may have ended
	scanner := bufio.NewScanner(stdout)
	scanner.Scan()
	fields := strings.Split(scanner.Text(), "|")
	conn := must(grpc.NewClient("unix:"+fields[3], grpc.WithTransportCredentials(insecure.NewCredentials())))
	var err error
	ended := within(18*time.Second, func() { _, err = do(conn, "accept:1") })
	return verdict(ended && err != nil, "an error", "Accept hangs")
}

// knockAgain dials an id twice. Five seconds after the first answer, go-plugin's host forgets
// what it then waits for.
func knockAgain(h host) string {
	cfg := h.config()
	cfg.GRPCBrokerMultiplex = true
	c := plugin.NewClient(cfg)
	defer c.Kill()
	d := must(connect(c))
	const id = 7
	must(do(d.ClientConn, fmt.Sprint("serve:", id)))
	began := time.Now()
	first := must(d.broker.Dial(id))
	must(do(first, "echo:works"))
	must("", first.Close())
	must(do(d.ClientConn, "unserve"))
	time.Sleep(time.Until(began.Add(3 * time.Second)))
	go func() {
		time.Sleep(time.Until(began.Add(6500 * time.Millisecond)))
		must(do(d.ClientConn, fmt.Sprint("serve:", id)))
	}()
	second, err := d.broker.Dial(id)
	if err == nil {
		var answer string
		if answer, err = do(second, "echo:works"); err == nil {
			return answer
		}
	}
	return "the answer is lost"
}

func leakedProcess(h host) string {
	out := filepath.Join(os.TempDir(), "pid")
	c := plugin.NewClient(h.script("echo $$ >" + out + "; echo '1|3|tcp|127.0.0.1:1|grpc|'; exec sleep 20"))
	if protocol, err := c.Client(); err == nil && protocol.Ping() == nil {
		return "it can be called"
	}
	pid := strings.TrimSpace(string(must(os.ReadFile(out))))
	defer syscall.Kill(number(pid), syscall.SIGKILL) //nolint:errcheck // it may have ended
	return verdict(stateOf(pid) == "", "the process is gone", "the process runs on")
}

// swapHash replaces a program as soon as it was verified.
type swapHash struct {
	hash.Hash
	swap func()
}

func (s swapHash) Sum(b []byte) []byte {
	sum := s.Hash.Sum(b)
	s.swap()
	return sum
}

func changedProgram(h host) string {
	program := filepath.Join(os.TempDir(), "program")
	bad := filepath.Join(os.TempDir(), "bad")
	ran := filepath.Join(os.TempDir(), "ran")
	good := "#!/bin/sh\nexec " + h.program + " plugin\n"
	must("", os.WriteFile(program, []byte(good), 0o700))
	must("", os.WriteFile(bad, []byte("#!/bin/sh\ntouch "+ran+"\nexec "+h.program+" plugin\n"), 0o700))
	sum := sha256.Sum256([]byte(good))
	secure := &plugin.SecureConfig{Checksum: sum[:], Hash: sha256.New()}
	first, err := secure.Check(program)
	second, err2 := secure.Check(program)
	again := verdict(first && second && err == nil && err2 == nil, "checked again", "cannot be checked again")
	cfg := h.config()
	cfg.Cmd = exec.Command(program)
	cfg.SecureConfig = &plugin.SecureConfig{Checksum: sum[:], Hash: swapHash{sha256.New(), func() { must("", os.Rename(bad, program)) }}}
	c := plugin.NewClient(cfg)
	defer c.Kill()
	_, _ = c.Client() // it may be refused
	_, err = os.Stat(ran)
	return again + ", " + verdict(err != nil, "the changed program did not run", "the changed program ran")
}

func lostTail(h host) string {
	const lines = 6400 // 32 KiB
	for range 10 {
		var printed lockedBuffer
		cfg := h.config()
		cfg.SyncStdout = &printed
		c := plugin.NewClient(cfg)
		d := must(connect(c))
		must(do(d.ClientConn, fmt.Sprint("print:", lines)))
		c.Kill()
		if n := strings.Count(printed.String(), "tail\n"); n != lines {
			return "lines are lost"
		}
	}
	return "all lines"
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func printAfterServe(h host) string {
	marker := filepath.Join(os.TempDir(), "printed")
	c := plugin.NewClient(h.config("prints-after", marker))
	must(connect(c))
	c.Kill()
	_, err := os.Stat(marker)
	return verdict(err == nil, "it printed and ended", "it hung and was killed")
}

func longLogLine(h host) string {
	var log lockedBuffer
	cfg := h.config()
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &log, JSONFormat: true})
	c := plugin.NewClient(cfg)
	d := must(connect(c))
	must(do(d.ClientConn, "errors:100000"))
	c.Kill()
	return verdict(strings.Contains(log.String(), `"@message":"it is broken"`), "logged as an error", "hidden at debug")
}

func handlerPanics(h host) string {
	c := plugin.NewClient(h.config())
	defer c.Kill()
	d := must(connect(c))
	_, err := do(d.ClientConn, "panic")
	answer, after := do(d.ClientConn, "echo:works")
	if after != nil {
		answer = "the plugin died"
	}
	return verdict(err != nil && strings.Contains(err.Error(), "the drill panics"), "its text", "no text") + ", " + answer
}

func certificatePEM() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return "", err
	}
	return "-----BEGIN CERTIFICATE-----\n" + base64.StdEncoding.EncodeToString(der) + "\n-----END CERTIFICATE-----\n", nil
}
