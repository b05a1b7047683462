package board

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// formatVersion is the version of the format. It changes when a field goes or gets another
// meaning. New fields do not change it.
const formatVersion = 1

// The paths of the endpoint.
const (
	pluginsPath = "/v1/plugins"
	logsPath    = "/v1/logs"
)

const (
	// maxReaders bounds the connections of readers. Each has a goroutine and some buffers.
	// One more is closed at once.
	maxReaders = 16
	// maxRequest bounds the bytes of a request's header.
	maxRequest = 4 << 10
	// requestTimeout bounds how long a reader may take for its request.
	requestTimeout = 5 * time.Second
	// idleTimeout is how long a connection may be without a request. It is longer than the
	// intervals at which people look.
	idleTimeout = time.Minute
	// writeTimeout bounds how long a reader may not read. Nothing waits for such a reader,
	// and it must not hold one of the connections either.
	writeTimeout = 10 * time.Second
	// finishTimeout bounds how long the end waits until readers have their answers. That takes
	// microseconds, unless a reader does not read or the machine is overloaded.
	finishTimeout = time.Second
)

// endpoint serves a board.
type endpoint struct {
	board   *board
	socket  *socket
	server  *http.Server
	places  chan struct{}  // has a token for each connection of a reader
	closing chan struct{}  // closed by close
	tasks   sync.WaitGroup // the server, and connections of readers
}

// open opens the endpoint of a board.
func open(b *board) (*endpoint, error) {
	s, err := listen()
	if err != nil {
		return nil, err
	}
	e := &endpoint{board: b, socket: s, places: make(chan struct{}, maxReaders), closing: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pluginsPath, e.servePlugins)
	mux.HandleFunc("GET "+logsPath, e.serveLogs)
	e.server = &http.Server{
		Handler:           withoutBody(mux),
		ReadHeaderTimeout: requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxRequest,
		ConnState:         e.changed,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // mistakes of readers: each gets an answer
	}
	e.tasks.Go(func() { _ = e.server.Serve(&readers{s, e.places}) }) // ends with close
	return e, nil
}

// withoutBody refuses requests with a body. Nothing bounds how long a reader takes to send one.
func withoutBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			w.Header().Set("Connection", "close")
			http.Error(w, "a request has no body here", http.StatusBadRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// close removes the socket, and ends the endpoint with what readers are getting. It returns
// when the goroutines have ended. The socket goes first: a reader whose connection ends can
// tell by that whether the host has ended or refuses the reader.
func (e *endpoint) close() {
	e.socket.remove()
	close(e.closing)
	ctx, cancel := context.WithTimeout(context.Background(), finishTimeout)
	defer cancel()
	_ = e.server.Shutdown(ctx) // an error means that a reader does not read
	_ = e.server.Close()       // closes the listener too, and nothing was written
	e.tasks.Wait()
}

// changed counts the connections of readers. The server calls it for a new connection before
// the connection has a goroutine, and at the end of that goroutine.
func (e *endpoint) changed(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		e.tasks.Add(1)
		select {
		case <-e.closing: // close may not have seen the connection
			_ = conn.Close()
		default:
		}
	case http.StateClosed:
		<-e.places
		e.tasks.Done()
	default:
	}
}

// readers is a listener that accepts connections of this user, as many as there are places.
type readers struct {
	net.Listener
	places chan<- struct{}
}

// Accept implements [net.Listener].
func (r *readers) Accept() (net.Conn, error) {
	for {
		conn, err := r.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if isOwn(conn) {
			select {
			case r.places <- struct{}{}:
				return conn, nil
			default: // an answer could get lost, because the reader may be writing
			}
		}
		_ = conn.Close() // nothing was written
	}
}

// Report is what readers get of the plugins of a process.
type Report struct {
	Version int       `json:"version"` // formatVersion
	Time    time.Time `json:"time"`
	Host    Host      `json:"host"`
	Plugins []Plugin  `json:"plugins"`
}

// Host is the process that the plugins belong to.
type Host struct {
	Name string `json:"name"` // of its program
	PID  int    `json:"pid"`
}

func (e *endpoint) servePlugins(w http.ResponseWriter, _ *http.Request) {
	report := Report{
		Version: formatVersion, Time: time.Now(),
		Host:    Host{Name: filepath.Base(os.Args[0]), PID: os.Getpid()},
		Plugins: e.board.snapshot(),
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(report); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // a connection has deadlines
	_, _ = w.Write(b.Bytes())                                                        // the reader may have gone
}

// missedLine tells a reader that it was too slow for some lines.
type missedLine struct {
	Version int    `json:"version"`
	Missed  uint64 `json:"missed"`
}

// serveLogs sends the lines of all plugins, and with the query "follow" also those to come.
func (e *endpoint) serveLogs(w http.ResponseWriter, r *http.Request) {
	follow := r.URL.Query().Has("follow")
	if follow {
		defer e.board.follow()()
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	control := http.NewResponseController(w)
	at := make(position)
	for last := !follow; ; {
		lines, missed, more := e.board.read(at)
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout)) // a connection has deadlines
		err := writeLines(w, lines, missed)
		if err == nil {
			err = control.Flush()
		}
		if err != nil || last {
			return // an error means that the reader has gone, or is too slow
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return
		case <-e.closing:
			last = true // why the last plugin ended may be in its last lines
		}
	}
}

func writeLines(w io.Writer, lines []entry, missed uint64) error {
	var b bytes.Buffer
	if missed > 0 {
		if err := json.NewEncoder(&b).Encode(missedLine{formatVersion, missed}); err != nil {
			return err
		}
	}
	for _, l := range lines {
		_, _ = fmt.Fprintf(&b, `{"version":%d,"seq":%d,`, formatVersion, l.number)
		b.Write(l.line[1:]) // it begins with a brace, and has a level at least
	}
	_, err := w.Write(b.Bytes())
	return err
}
