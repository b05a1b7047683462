package top

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"html/template"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
)

//go:embed page.html
var pageText string

//go:embed page.css
var style string

//go:embed page.js
var script string

// parsePage parses the page when it is needed first: other commands do not pay for it.
var parsePage = sync.OnceValues(func() (*template.Template, error) { return template.New("page").Parse(pageText) })

// page is what the template shows.
type page struct {
	Style    template.CSS
	Script   template.JS
	Interval int64 // milliseconds
	Seconds  int64 // the same, at least one
	Time     string
	Columns  []string
	Rows     []pageRow
	Problems []Problem
	NoHosts  string // what to say if there is none; empty otherwise
}

// pageRow is a row of the page.
type pageRow struct {
	State string
	Cells []string
	Error string
}

const (
	// pageRequestTimeout bounds how long a browser may take for a request.
	pageRequestTimeout = 5 * time.Second
	// pageAnswerTimeout bounds how long a browser may take to read an answer, and how long
	// hosts may take for theirs.
	pageAnswerTimeout = 10 * time.Second
	// maxPageHeader bounds the bytes of a request. Browsers send less than a kilobyte here.
	maxPageHeader = 16 << 10
)

// servePage serves the page until ctx ends.
func (c *command) servePage(ctx context.Context) error {
	name, err := c.pageHost()
	if err != nil {
		return err
	}
	if _, err := parsePage(); err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", c.http)
	if err != nil {
		return &output.Error{Code: output.ExitFailed, Err: err}
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String()) // an address of TCP has a port
	if err := c.out.Textf("http://%s/\n", net.JoinHostPort(name, port)); err != nil {
		return errors.Join(err, ln.Close())
	}
	p := &pageServer{command: c, name: name}
	server := &http.Server{
		Handler:           p,
		ReadHeaderTimeout: pageRequestTimeout,
		ReadTimeout:       pageRequestTimeout,
		WriteTimeout:      pageAnswerTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxPageHeader,
		ErrorLog:          log.New(io.Discard, "", 0), // mistakes of browsers, which get an answer
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // nothing was written
	defer stop()
	defer p.end()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// pageHost returns the name of the address for -http. Without -allow-remote it must be one of
// this machine's own: the page shows what runs to all that reach it.
func (c *command) pageHost() (string, error) {
	name, port, err := net.SplitHostPort(c.http)
	if err != nil {
		return "", output.Usage("-http %s: %v: want an address such as localhost:8080", c.http, err)
	}
	if name == "" && !c.remote {
		name = "localhost"
		c.http = net.JoinHostPort(name, port)
	}
	if ip := net.ParseIP(name); name != "localhost" && (ip == nil || !ip.IsLoopback()) && !c.remote {
		return "", output.Usage("-http %s: other machines could reach this address: use localhost, or add -allow-remote", c.http)
	}
	if name == "" {
		name = "localhost"
	}
	return name, nil
}

// pageServer serves the page, to browsers that ask for one of its own names.
type pageServer struct {
	*command
	name string

	mu     sync.Mutex // guards the rest, and the finder and the sampler of the command
	sample *Sample    // the last one
	ended  bool       // the command ends, and closes the finder
}

// end waits until no request uses the finder any more. The server ends before its handlers.
func (p *pageServer) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
}

// securityHeaders are for each answer. The page loads nothing, and its style and script are
// the only ones.
var securityHeaders = sync.OnceValue(func() map[string]string {
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return map[string]string{
		"Content-Security-Policy": "default-src 'none'; connect-src 'self'; style-src " + hash(style) + "; script-src " + hash(script) +
			"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "no-referrer",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Cache-Control":                "no-store",
	}
})

// ServeHTTP implements [http.Handler].
func (p *pageServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name, value := range securityHeaders() {
		w.Header().Set(name, value)
	}
	switch {
	case !p.isOwn(r.Host):
		// A page of another site can make its own name lead to this machine (DNS rebinding),
		// and would read this one.
		http.Error(w, "this page has another name: use the address that plugwire has printed", http.StatusMisdirectedRequest)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the page can only be read", http.StatusMethodNotAllowed)
	case r.URL.Path != "/":
		http.NotFound(w, r)
	default:
		p.serve(w, r)
	}
}

// isOwn reports whether the Host of a request is a name of this page. Numbers are, because
// no site can have one that is not its own.
func (p *pageServer) isOwn(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	return strings.EqualFold(name, "localhost") || strings.EqualFold(name, p.name) || net.ParseIP(name) != nil
}

func (p *pageServer) serve(w http.ResponseWriter, r *http.Request) {
	s, err := p.next(r.Context())
	var text strings.Builder
	if err == nil {
		var parsed *template.Template
		if parsed, err = parsePage(); err == nil {
			err = parsed.Execute(&text, p.page(s))
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, text.String()) // the browser may have gone
}

// next returns a sample that is as new as the interval. Any number of browsers cost the hosts
// as much as one.
func (p *pageServer) next(ctx context.Context) (*Sample, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return nil, http.ErrServerClosed
	}
	if p.sample != nil && time.Since(p.sample.Time) < min(p.interval, firstInterval) {
		return p.sample, nil
	}
	ctx, cancel := context.WithTimeout(ctx, pageAnswerTimeout)
	defer cancel()
	s, err := p.command.next(ctx)
	if err != nil {
		return nil, err
	}
	p.sample = s
	return s, nil
}

func (p *pageServer) page(s *Sample) *page {
	result := &page{
		Style: template.CSS(style), Script: template.JS(script),
		Interval: p.interval.Milliseconds(), Seconds: max(1, int64(p.interval/time.Second)),
		Time: s.Time.Format(time.DateTime), Columns: columns, Problems: s.Problems,
	}
	if len(s.Plugins) == 0 && len(s.Problems) == 0 {
		result.NoHosts = noHosts
	}
	for _, r := range s.Plugins {
		cells := r.cells()
		for i, text := range cells {
			cells[i] = oneLine(text)
		}
		result.Rows = append(result.Rows, pageRow{r.State, cells, oneLine(r.Error)})
	}
	return result
}
