// Package hosts finds the running hosts that show their status (host.WithStatus), and reads
// it. docs/observability.md describes the format.
package hosts

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// maxHosts bounds how many hosts are looked at. Each takes a connection.
	maxHosts = 256
	// parallel is how many of them are asked at the same time.
	parallel = 16
	// answerTimeout bounds how long a host may take to answer. It takes a millisecond, unless
	// the host is stopped or overloaded.
	answerTimeout = 2 * time.Second
	// maxReport bounds the bytes of an answer about plugins: a plugin takes about 2 KiB.
	maxReport = 16 << 20
	// maxLine bounds the bytes of a line of a log. Hosts keep lines of 8 KiB.
	maxLine = 64 << 10
)

// Report is what a host tells.
type Report struct {
	Version int       `json:"version"`
	Time    time.Time `json:"time"`
	Host    struct {
		Name string `json:"name"`
		PID  int    `json:"pid"`
	} `json:"host"`
	Plugins []Plugin `json:"plugins"`
}

// Plugin is what a host tells about a plugin.
type Plugin struct {
	ID         int       `json:"id"`
	Name       string    `json:"name"`
	State      string    `json:"state"`
	Since      time.Time `json:"since"`
	PID        int       `json:"pid"`
	Supervised bool      `json:"supervised"`
	Starts     int       `json:"starts"`
	Restarts   int       `json:"restarts"`
	Error      string    `json:"error"`
	Calls      struct {
		Begun     uint64            `json:"begun"`
		Ended     uint64            `json:"ended"`
		Errors    map[string]uint64 `json:"errors"`
		Durations [][2]uint64       `json:"durations"`
	} `json:"calls"`
}

// Ended reports whether nobody starts the plugin again.
func (p Plugin) Ended() bool { return p.State == "ended" || p.State == "closed" }

// Record is a line of a host's log.
type Record struct {
	Version int             `json:"version"`
	Seq     uint64          `json:"seq"`
	Missed  uint64          `json:"missed"` // how many records this reader was too slow for, in a line of its own
	Time    time.Time       `json:"time"`
	Level   string          `json:"level"`
	Message string          `json:"msg"`
	Plugin  string          `json:"plugin"`
	PID     int             `json:"pid"`
	Attrs   json.RawMessage `json:"attrs"`
}

// version is the version of the format that this program reads.
const version = 1

// VersionError is the error of a host whose format this program does not know.
type VersionError struct{ Version int }

func (e *VersionError) Error() string {
	return fmt.Sprintf("it has version %d of the status, and this program reads version %d: install plugwire of the host's release", e.Version, version)
}

// ErrGone is the error of a host that has ended.
var ErrGone = errors.New("the host has ended")

// ErrCut is the error of an answer that ends in the middle: the host was killed, or this
// reader was too slow for it.
var ErrCut = errors.New("the host has cut its answer off")

// Host is a running host, or one that has just ended. Its methods are safe for concurrent
// use.
type Host struct {
	Path   string // of its socket; no other host ever has the same
	own    bool   // the socket is in a directory of this user's hosts
	client *http.Client
}

// Finder finds hosts, and keeps the connections to them from one time to the next.
type Finder struct {
	dirs  []string
	own   bool // they are the directories of this user's hosts
	known map[string]*Host
}

// NewFinder returns a Finder for the directory dir, or for those of this user if dir is
// empty.
func NewFinder(dir string) (*Finder, error) {
	f := &Finder{dirs: []string{dir}, own: dir == "", known: make(map[string]*Host)}
	var err error
	if f.own {
		f.dirs, err = directories()
	} else {
		_, err = os.Stat(dir)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// suffix ends the names of sockets.
const suffix = ".sock"

// Find returns the hosts that have a socket, in the order of their paths. A directory that
// is not there has none.
func (f *Finder) Find() ([]*Host, error) {
	var paths []string
	for _, dir := range f.dirs {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = check(dir)
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if name := e.Name(); e.Type() == fs.ModeSocket && strings.HasSuffix(name, suffix) && len(paths) < maxHosts {
				paths = append(paths, filepath.Join(dir, name))
			}
		}
	}
	found := make([]*Host, 0, len(paths))
	for _, path := range paths {
		h := f.known[path]
		if h == nil {
			h = newHost(path, f.own)
			f.known[path] = h
		}
		found = append(found, h)
	}
	for path, h := range f.known {
		if !slices.Contains(paths, path) {
			h.client.CloseIdleConnections()
			delete(f.known, path)
		}
	}
	return found, nil
}

// Close closes the connections that are idle.
func (f *Finder) Close() {
	for _, h := range f.known {
		h.client.CloseIdleConnections()
	}
}

func newHost(path string, own bool) *Host {
	return &Host{Path: path, own: own, client: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		MaxIdleConns:          1,
		ResponseHeaderTimeout: answerTimeout,
		DisableCompression:    true,
	}}}
}

// get asks the host. The caller closes the answer.
func (h *Host) get(ctx context.Context, path string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := h.client.Do(request)
	if err != nil {
		return nil, h.explain(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("it answers with %s", resp.Status), resp.Body.Close())
	}
	return resp.Body, nil
}

// explain returns the error for a connection that failed, or ended before there was an
// answer. That is ErrGone if the host has ended. net/http has many errors for the end of a
// connection, some without a type, so explain connects again and looks how that fails.
func (h *Host) explain(ctx context.Context, err error) error {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return &silentError{err}
	}
	if failed, ok := errors.AsType[*net.OpError](err); ok && failed.Op == "dial" || ctx.Err() != nil {
		return h.removeStale(err)
	}
	conn, dialErr := new(net.Dialer).DialContext(ctx, "unix", h.Path)
	if dialErr == nil {
		_ = conn.Close() // nothing was written
	}
	if dialErr = h.removeStale(dialErr); errors.Is(dialErr, ErrGone) {
		return dialErr
	}
	return fmt.Errorf("it closes the connection: it belongs to another user, or has too many readers (%w)", err)
}

// silentError is the error of a host that does not answer. It unwraps to the timeout.
type silentError struct{ err error }

func (e *silentError) Error() string {
	return fmt.Sprintf("it has not answered for %v: its process is stopped, hangs, or gets no processor time", answerTimeout)
}
func (e *silentError) Unwrap() error { return e.err }

// isLost reports whether an error is the end of a connection.
func isLost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// removeStale returns ErrGone for the error of a connection to a socket where nobody listens,
// because the host has ended. Such a socket is removed from the directories of this user's
// hosts. Other directories may have sockets of other programs or other users.
func (h *Host) removeStale(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ErrGone
	case errors.Is(err, syscall.ECONNREFUSED):
		if h.own {
			_ = os.Remove(h.Path) // another reader may have done it
		}
		return ErrGone
	default:
		return err
	}
}

// Read asks for the plugins.
func (h *Host) Read(ctx context.Context) (_ *Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	body, err := h.get(ctx, "/v1/plugins")
	if err != nil {
		return nil, err
	}
	defer body.Close()                                    //nolint:errcheck // it was read
	b, err := io.ReadAll(io.LimitReader(body, maxReport)) // with the line end, so that the connection can be used again
	if err != nil {
		return nil, h.explain(ctx, err)
	}
	return parseReport(b)
}

func parseReport(b []byte) (*Report, error) {
	r := new(Report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("its answer: %w", err)
	}
	if r.Version != version {
		return nil, &VersionError{r.Version}
	}
	return r, nil
}

// Log calls yield with the records that the host has kept, and if follow is set with those
// to come, until the host or ctx ends. An error of yield ends it too.
func (h *Host) Log(ctx context.Context, follow bool, yield func(Record) error) error {
	path := "/v1/logs"
	if follow {
		path += "?follow"
	} else {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, answerTimeout)
		defer cancel()
	}
	body, err := h.get(ctx, path)
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // it was read
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		r, err := parseRecord(lines.Bytes())
		if err == nil {
			err = yield(r)
		}
		if err != nil {
			return err
		}
	}
	if err := lines.Err(); isLost(err) {
		return ErrCut
	} else if err != nil {
		return err
	}
	return nil
}

func parseRecord(b []byte) (r Record, err error) {
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("its log: %w", err)
	}
	if r.Version != version {
		return r, &VersionError{r.Version}
	}
	return r, nil
}

// Answer is what came of asking a host.
type Answer struct {
	*Host
	Report *Report // nil with an error
	Err    error   // never ErrGone
}

// ReadAll asks all hosts that there are at the same time. Those that have ended are left
// out.
func (f *Finder) ReadAll(ctx context.Context) ([]Answer, error) {
	found, err := f.Find()
	if err != nil {
		return nil, err
	}
	answers := make([]Answer, len(found))
	places := make(chan struct{}, parallel)
	var asking sync.WaitGroup
	for i, h := range found {
		places <- struct{}{}
		asking.Go(func() {
			defer func() { <-places }()
			report, err := h.Read(ctx)
			answers[i] = Answer{h, report, err}
		})
	}
	asking.Wait()
	return slices.DeleteFunc(answers, func(a Answer) bool { return errors.Is(a.Err, ErrGone) }), ctx.Err()
}
