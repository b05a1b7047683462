//go:build unix

package hosts_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"
)

// hostArg makes the test's program a host. It is written from the pages alone, as one in
// another language would be, on plain grpc-go. It starts a plugin, asks for its health and
// stops it. A defect breaks one rule.
const hostArg = "be-a-host"

// The host's patience. It is long enough for a busy machine, and short enough for a test: a
// call and a stop together take less than a rule's bound.
const (
	hostStart = 15 * time.Second
	hostCall  = 10 * time.Second
	hostGrace = 3 * time.Second
	hostTerm  = time.Second
)

// brokenHost is a run of the host.
type brokenHost struct {
	defect   string
	path     string
	foreign  bool // it knows go-plugin's part of the protocol only
	dir      string
	instance string
	cert     tls.Certificate
	pem      string
	lifeline *os.File

	cmd    *exec.Cmd
	output sync.WaitGroup // readers of the outputs
	exited chan struct{}
	lines  chan string // lines of standard output, until the answer
	answer answer
	conn   *grpc.ClientConn
	taken  bool // a plugin on Plugwire is dialed once
}

// answer is what the plugin has answered.
type answer struct {
	version          int
	network, address string
	cert             []byte
	plugwire         bool
	fields           map[string]string
	security         string
}

func hostMain(args []string) int {
	flags := flag.NewFlagSet(hostArg, flag.ExitOnError)
	h := &brokenHost{exited: make(chan struct{}), lines: make(chan string)}
	flags.StringVar(&h.defect, "defect", "", "the rule that the host breaks")
	flags.BoolVar(&h.foreign, "foreign", false, "know go-plugin's part of the protocol only")
	_ = flags.Parse(args) // it exits
	h.path = flags.Arg(0)
	err := h.run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "host:", err)
		return 1
	}
	return 0
}

func (h *brokenHost) run() (err error) {
	if err := h.start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.stop()) }()
	patience := hostStart
	if h.defect == "waits" || h.defect == "unbounded-line" { // which is to read the whole line
		patience = time.Minute
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.handshake(ctx); err != nil {
		if h.defect == "hides-refusal" {
			return errors.New("the plugin did not start")
		}
		return err
	}
	if err := h.connect(ctx); err != nil {
		return err
	}
	call, cancelCall := context.WithTimeout(context.Background(), hostCall)
	defer cancelCall()
	response, err := healthpb.NewHealthClient(h.conn).Check(call, &healthpb.HealthCheckRequest{Service: "plugin"})
	if h.defect == "ignores-status" {
		return nil
	}
	if err == nil && response.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		err = fmt.Errorf("the plugin is %v", response.GetStatus())
	}
	return err
}

// start starts the plugin with the offer.
func (h *brokenHost) start() (err error) {
	if h.dir, err = os.MkdirTemp("", "h"); err != nil {
		return err
	}
	if h.defect == "public-directory" {
		if err := os.Chmod(h.dir, 0o755); err != nil {
			return err
		}
	}
	h.instance = rand.Text()
	if h.defect == "same-instance" {
		h.instance = "SAMEINSTANCEALWAYS"
	}
	if err := h.makeCertificate(); err != nil {
		return err
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	defer theirs.Close()
	h.lifeline = ours
	h.cmd = exec.Command(h.path)
	h.cmd.Env = h.environ()
	h.cmd.ExtraFiles = []*os.File{theirs}
	h.cmd.SysProcAttr = h.attributes()
	if h.defect == "own-stdin" {
		h.cmd.Stdin = os.Stdin
	}
	// Pipes of its own: the defect of a host that stops to read must not be one of package exec.
	stdout, outEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	stderr, errEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	h.cmd.Stdout, h.cmd.Stderr = outEnd, errEnd
	if err := h.cmd.Start(); err != nil {
		return err
	}
	_ = errors.Join(outEnd.Close(), errEnd.Close())
	go func() {
		_ = h.cmd.Wait() // how it ended does not matter
		close(h.exited)
	}()
	h.output.Go(func() { h.readOutput(stdout) })
	h.output.Go(func() { h.readLog(stderr) })
	return nil
}

func (h *brokenHost) environ() []string {
	env := os.Environ()
	if h.defect != "passes-environment" {
		env = slices.DeleteFunc(env, func(entry string) bool {
			return strings.HasPrefix(entry, "PLUGIN_") || strings.HasPrefix(entry, "PLUGWIRE_")
		})
	}
	versions := "1,2"
	if h.defect == "odd-versions" {
		versions = "1,2,"
	}
	minPort, maxPort := "0", "0"
	if h.defect == "ports-exchanged" {
		minPort, maxPort = "25000", "10000"
	}
	env = append(env, "PLUGIN_PROTOCOL_VERSIONS="+versions, "PLUGIN_MIN_PORT="+minPort, "PLUGIN_MAX_PORT="+maxPort, "PLUGIN_CLIENT_CERT="+h.pem)
	if h.defect != "no-cookie" {
		env = append(env, "PLUGIN_MAGIC_COOKIE=plugwire")
	}
	if h.foreign {
		return env
	}
	offer := "instance=" + h.instance + "|protocol=conform|transports=unix/1,tcp/1|sessions=direct|wires=h2|security=peercred,mtls|lifeline=3|callbacks=1"
	if h.defect == "malformed-offer" {
		offer += "|x-name=two words"
	}
	return append(env, "PLUGIN_TRANSPORTS=unix,tcp", "PLUGIN_UNIX_SOCKET_DIR="+h.dir, "PLUGWIRE_OFFER="+offer)
}

func (h *brokenHost) makeCertificate() error {
	curve := elliptic.P256()
	if h.defect == "p-521" {
		curve = elliptic.P521()
	}
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(30, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	h.cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	h.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return err
}

// maxLine is the longest line that can be an answer.
const maxLine = 65536

// readOutput gives lines of standard output to the handshake, and reads on after that.
func (h *brokenHost) readOutput(r io.Reader) {
	lines := bufio.NewReaderSize(r, maxLine)
	for handed := false; ; {
		line, prefix, err := h.readLine(lines)
		if err != nil {
			break
		}
		text := string(line)
		for long := prefix; long; {
			if _, long, err = lines.ReadLine(); err != nil {
				break
			}
		}
		if prefix {
			text = "" // noise
		}
		if !handed {
			h.lines <- text
			handed = <-h.lines == "enough"
			if handed && h.defect == "stops-reading" {
				<-h.exited
				return
			}
		}
	}
	close(h.lines)
}

// readLine returns a line, or the beginning of one that is too long.
func (h *brokenHost) readLine(lines *bufio.Reader) (line []byte, prefix bool, err error) {
	if h.defect != "unbounded-line" {
		return lines.ReadLine()
	}
	line, err = lines.ReadBytes('\n')
	if len(line) > 0 {
		err = nil
	}
	return line, false, err
}

// readLog reads standard error.
func (h *brokenHost) readLog(r io.Reader) {
	if h.defect == "stops-reading" {
		<-h.exited
		return
	}
	lines := bufio.NewReader(r)
	for {
		line, _, err := lines.ReadLine()
		if err != nil {
			return
		}
		if h.defect == "trusts-log" {
			var record map[string]any
			if json.Unmarshal(line, &record) == nil && record["@message"] != nil {
				_ = record["@message"].(string)
			}
		}
	}
}

// handshake finds the answer.
func (h *brokenHost) handshake(ctx context.Context) error {
	for {
		select {
		case line, ok := <-h.lines:
			if !ok {
				return errors.New("the plugin ended without an answer")
			}
			noise, err := h.parse(strings.TrimSpace(line))
			if err != nil || !noise {
				h.lines <- "enough"
			}
			if err != nil {
				return err
			}
			if !noise {
				return h.check()
			}
			if line != "" && h.defect == "first-line-only" {
				h.lines <- "enough"
				return fmt.Errorf("the first line is not a valid answer: %.100q", line)
			}
			h.lines <- "more"
		case <-ctx.Done():
			go func() { // ends with the plugin
				for range h.lines {
					h.lines <- "enough"
				}
			}()
			return errors.New("the plugin did not answer before the start timeout")
		}
	}
}

var ownKeys = []string{"instance", "protocol", "transport", "session", "wire", "security", "error"}

// parse reads a line.
func (h *brokenHost) parse(line string) (noise bool, err error) {
	fields := strings.Split(line, "|")
	if len(fields) < 4 {
		return true, nil
	}
	core, coreErr := strconv.Atoi(fields[0])
	version, versionErr := strconv.Atoi(fields[1])
	if coreErr != nil || versionErr != nil {
		return true, nil //nolint:nilerr // what is no number is left out
	}
	if core != 1 && h.defect != "any-core" {
		return false, fmt.Errorf("core version %d", core)
	}
	a := answer{version: version, network: fields[2], address: fields[3], fields: map[string]string{}}
	if len(fields) > 7 {
		if err := a.extended(fields[7:], h.defect == "ignores-marks"); err != nil {
			return false, err
		}
		if a.plugwire && a.fields["instance"] != h.instance {
			return true, nil
		}
	}
	if text, ok := a.fields["error"]; ok {
		return false, fmt.Errorf("the plugin refuses: %s", text)
	}
	rpc := ""
	if len(fields) > 4 {
		rpc = fields[4]
	}
	if rpc != "grpc" && h.defect != "any-rpc" {
		return false, fmt.Errorf("the plugin speaks %q", rpc)
	}
	if len(fields) > 5 {
		cert := strings.TrimRight(fields[5], "=")
		if len(cert) > 50 {
			if a.cert, err = base64.RawStdEncoding.DecodeString(cert); err == nil {
				_, err = x509.ParseCertificate(a.cert)
			}
			if err != nil {
				return false, fmt.Errorf("the certificate: %w", err)
			}
		}
	}
	if len(a.address) > 1024 {
		return false, fmt.Errorf("an address of %d bytes", len(a.address))
	}
	h.answer = a
	return false, nil
}

// extended reads extended fields.
func (a *answer) extended(fields []string, ignoreMarks bool) error {
	var mistake error
	for _, field := range fields {
		key, value, ok := strings.Cut(field, "=")
		bare := strings.TrimPrefix(key, "!")
		unescaped, err := unescape(value)
		if _, twice := a.fields[bare]; !ok || err != nil || twice {
			mistake = fmt.Errorf("the field %q", field)
			continue
		}
		if bare != key && !ignoreMarks {
			mistake = fmt.Errorf("the field %s must be understood", bare)
		}
		a.fields[bare] = unescaped
		a.plugwire = a.plugwire || slices.Contains(ownKeys, bare)
	}
	if !a.plugwire {
		return nil
	}
	return mistake
}

func unescape(value string) (string, error) {
	parts := strings.Split(value, "%")
	for i, part := range parts[1:] {
		if len(part) < 2 {
			return "", errors.New("a broken escape")
		}
		n, err := strconv.ParseUint(part[:2], 16, 8)
		if err != nil {
			return "", err
		}
		parts[i+1] = string(rune(n)) + part[2:]
	}
	return strings.Join(parts, ""), nil
}

// check compares the answer with the offer.
func (h *brokenHost) check() error {
	a := &h.answer
	if a.version != 1 && a.version != 2 && h.defect != "any-version" {
		return fmt.Errorf("version %d was not offered", a.version)
	}
	if a.network != "unix" && a.network != "tcp" {
		return fmt.Errorf("network %s was not offered", a.network)
	}
	if !a.plugwire {
		switch {
		case a.cert != nil:
			a.security = "mtls"
		case a.network == "unix" && !h.foreign:
			a.security = "peercred"
		case h.defect != "plaintext":
			return errors.New("the plugin has no certificate")
		}
		return nil
	}
	for key, offered := range map[string]string{
		"protocol": "conform", "transport": a.network + "/1", "session": "direct", "wire": "h2", "security": "peercred,mtls",
	} {
		value, ok := a.fields[key]
		if ok && !slices.Contains(strings.Split(offered, ","), value) && h.defect != "any-"+key {
			return fmt.Errorf("%s %s was not offered", key, value)
		}
	}
	a.security = a.fields["security"]
	if a.security == "mtls" && a.cert == nil {
		return errors.New("mutual TLS without a certificate")
	}
	return nil
}

// The purposes of streams.
const (
	forCalls     = 1
	forCallbacks = 2
)

// dial opens a stream.
func (h *brokenHost) dial(ctx context.Context, purpose byte) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, h.answer.network, h.answer.address)
	if err != nil {
		return nil, err
	}
	if h.answer.plugwire {
		if _, err := conn.Write(h.preamble(purpose)); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	if h.answer.security != "mtls" {
		return conn, nil
	}
	server := h.answer.cert
	client := tls.Client(conn, &tls.Config{
		Certificates: []tls.Certificate{h.cert}, ServerName: "localhost", NextProtos: []string{"h2"},
		InsecureSkipVerify: true,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			if !bytes.Equal(raw[0], server) && h.defect != "trusts-certificates" {
				return errors.New("another certificate than that of the answer")
			}
			return nil
		},
	})
	if err := client.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return client, nil
}

func (h *brokenHost) preamble(purpose byte) []byte {
	version, identity := byte(1), ""
	if read, _ := strconv.Atoi(h.answer.fields["preamble"]); read >= 2 || h.defect == "new-preamble" {
		version, identity = 2, h.instance
	}
	if h.defect == "other-identity" {
		identity = strings.Repeat("x", len(identity))
	}
	b := append([]byte("\x00PLUGWIRE\n"), version, purpose)
	b = binary.BigEndian.AppendUint16(b, 0)
	return append(append(b, byte(len(identity)), 0), identity...)
}

// connect makes the connection, and the calls that come before the host's own.
func (h *brokenHost) connect(ctx context.Context) (err error) {
	authority := "localhost"
	if h.defect == "authority" {
		authority = "example.com"
	}
	h.conn, err = grpc.NewClient("passthrough:plugin", grpc.WithAuthority(authority),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			if h.taken && h.answer.plugwire {
				return nil, errors.New("the connection has ended")
			}
			h.taken = true
			return h.dial(ctx, forCalls)
		}))
	if err != nil {
		return err
	}
	h.conn.Connect()
	for state := h.conn.GetState(); state != connectivity.Ready; state = h.conn.GetState() {
		if state == connectivity.TransientFailure {
			return errors.New("no connection to the plugin")
		}
		if !h.conn.WaitForStateChange(ctx, state) {
			return errors.New("the plugin did not take the connection before the start timeout")
		}
	}
	if !h.answer.plugwire {
		return h.openStreams()
	}
	if err := h.serveCallbacks(ctx); err != nil {
		return err
	}
	if h.answer.fields["ready"] == "1" && h.defect != "no-ready" {
		return h.conn.Invoke(ctx, "/plugwire.v1.Control/Ready", &emptypb.Empty{}, &emptypb.Empty{})
	}
	return nil
}

// openStreams opens go-plugin's streams, and reads what comes on them.
func (h *brokenHost) openStreams() error {
	if h.defect == "no-streams" {
		return nil
	}
	for _, method := range []string{"/plugin.GRPCBroker/StartStream", "/plugin.GRPCStdio/StreamStdio"} {
		desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: strings.HasSuffix(method, "StartStream")}
		stream, err := h.conn.NewStream(context.Background(), desc, method)
		if err == nil && !desc.ClientStreams {
			err = errors.Join(stream.SendMsg(&emptypb.Empty{}), stream.CloseSend())
		}
		if err != nil {
			return nil //nolint:nilerr // the plugin need not have it, and the first call shows what is wrong
		}
		go func() { // ends with the connection
			for stream.RecvMsg(&emptypb.Empty{}) == nil {
			}
		}()
	}
	return nil
}

// serveCallbacks serves nothing on the stream for callbacks.
func (h *brokenHost) serveCallbacks(ctx context.Context) error {
	if h.defect == "no-callbacks" {
		return nil
	}
	conn, err := h.dial(ctx, forCallbacks)
	if err != nil {
		return err
	}
	go func() { _ = grpc.NewServer().Serve(&oneConn{conn: conn}) }() // until the host ends
	return nil
}

// oneConn is a listener that gives out one connection.
type oneConn struct {
	conn net.Conn
	once sync.Once
}

func (l *oneConn) Accept() (conn net.Conn, err error) {
	l.once.Do(func() { conn = l.conn })
	if conn == nil {
		select {}
	}
	return conn, nil
}
func (l *oneConn) Close() error   { return l.conn.Close() }
func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }

// stop ends the plugin: it asks, then it forces.
func (h *brokenHost) stop() error {
	if h.conn != nil && h.defect != "no-shutdown" {
		ctx, cancel := context.WithTimeout(context.Background(), hostGrace)
		defer cancel()
		method := "/plugin.GRPCController/Shutdown"
		if h.answer.plugwire {
			method = "/plugwire.v1.Control/Shutdown"
		}
		err := h.conn.Invoke(ctx, method, rawGrace(hostGrace), &emptypb.Empty{})
		if code := status.Code(err); code == codes.OK || code == codes.Unavailable {
			h.await(hostGrace)
		}
		_ = h.conn.Close()
	}
	if h.defect != "never-kills" {
		h.force()
	}
	if h.defect != "leaves-directory" {
		return os.RemoveAll(h.dir)
	}
	return nil
}

// force ends the plugin and its group.
func (h *brokenHost) force() {
	group := -h.cmd.Process.Pid
	if h.defect == "kills-one" {
		group = -group
	}
	select {
	case <-h.exited:
	default:
		_ = syscall.Kill(group, syscall.SIGTERM)
		h.await(hostTerm)
	}
	_ = syscall.Kill(group, syscall.SIGKILL)
	h.await(hostGrace)
}

// await waits for the process.
func (h *brokenHost) await(limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-h.exited:
	case <-timer.C:
	}
}

// rawGrace is a ShutdownRequest; a foreign plugin ignores the field.
func rawGrace(grace time.Duration) *emptypb.Empty {
	message := &emptypb.Empty{}
	field := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(grace.Milliseconds()))
	message.ProtoReflect().SetUnknown(field)
	return message
}
