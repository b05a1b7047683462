package probe

// Event is something that the probe has seen. The reader of the events notes the time.
type Event struct {
	Kind Kind `json:"kind"`
	// Text is what it is about: a method, a signal, a reason.
	Text string `json:"text,omitempty"`
	// N is a number that belongs to it.
	N int64 `json:"n,omitempty"`
	// Process is in the event of a start.
	Process *Process `json:"process,omitempty"`
	// Stream is in the event of a connection.
	Stream *Stream `json:"stream,omitempty"`
	// Headers are those of a call.
	Headers map[string][]string `json:"headers,omitempty"`
}

// Kind is what has happened.
type Kind string

// The kinds of events.
const (
	Started    Kind = "started"    // the first event of each process
	Skip       Kind = "skip"       // the scene does not fit this host; Text says why
	Failed     Kind = "failed"     // the probe itself cannot go on; Text says why
	Printed    Kind = "printed"    // Text is what was printed on standard output
	Connected  Kind = "connected"  // the host has opened its stream N; Stream says how
	Called     Kind = "called"     // a call of the host; Text is the method
	Answered   Kind = "answered"   // the probe has answered that call
	Streamed   Kind = "streamed"   // go-plugin's stream of the name in Text was opened
	Drained    Kind = "drained"    // the host has read N bytes on the way in Text
	Readied    Kind = "readied"    // the host has called Ready
	Asked      Kind = "asked"      // the host has asked to stop by the method in Text, in N milliseconds
	Signal     Kind = "signal"     // the process got the signal in Text
	HostEnded  Kind = "hostEnded"  // the lifeline has ended
	Wrong      Kind = "wrong"      // the host broke a rule of the wire; Text says which
	Seen       Kind = "seen"       // the host did what Text says, which the wire wants
	Broken     Kind = "broken"     // the probe has broken the wire
	Closed     Kind = "closed"     // the host has closed a connection for calls
	CalledBack Kind = "calledBack" // the host's answer to a call of the probe
	Weighed    Kind = "weighed"    // the probe waits until the host's memory was measured
	Leaving    Kind = "leaving"    // the probe exits with code N by itself
)

// Process is what a process of the probe finds when it starts.
type Process struct {
	PID   int      `json:"pid"`
	Child bool     `json:"child,omitempty"` // started by the probe and not by the host
	Env   []string `json:"env"`
	// Leader is set for the leader of a session of its own, Known where the system says.
	Leader bool `json:"leader,omitempty"`
	Known  bool `json:"known,omitempty"`
	// Stdin is what could be read from standard input at once, and its end.
	Stdin string `json:"stdin,omitempty"`
	// SocketDir says what is wrong with PLUGIN_UNIX_SOCKET_DIR; empty for nothing.
	SocketDir string `json:"socketDir,omitempty"`
	// Pipes are the descriptors of the offer that are no pipes, or not those of the
	// offer's identities.
	Pipes []string `json:"pipes,omitempty"`
}

// Stream is how the host opened a connection or a stream.
type Stream struct {
	// Preamble is set if it began with a preamble.
	Preamble bool   `json:"preamble,omitempty"`
	Version  int    `json:"version,omitempty"`
	Purpose  int    `json:"purpose,omitempty"`
	Name     string `json:"name,omitempty"`
	Identity string `json:"identity,omitempty"`
	// TLS is set if it is encrypted.
	TLS        bool   `json:"tls,omitempty"`
	TLSVersion uint16 `json:"tlsVersion,omitempty"`
	ServerName string `json:"serverName,omitempty"`
	ALPN       string `json:"alpn,omitempty"`
	// Resumed is set if the host used a session ticket.
	Resumed bool `json:"resumed,omitempty"`
	// SameCert is set if the host's certificate is that of PLUGIN_CLIENT_CERT.
	SameCert bool `json:"sameCert,omitempty"`
	// Wrong says why the probe refused the connection.
	Wrong string `json:"wrong,omitempty"`
}
