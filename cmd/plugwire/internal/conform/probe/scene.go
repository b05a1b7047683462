// Package probe is the plugin by which plugwire tests a host. It plays one scene, which is
// right or wrong in one way, and reports everything that the host does. It shares no code
// with Plugwire's own host and plugin, so that it does not repeat their mistakes.
package probe

// Scene is what the probe does. The zero value is a plugin that does everything right.
type Scene struct {
	// Control is the path of the unix socket to which the probe reports. The probe ends
	// when that connection ends.
	Control string `json:"control"`
	// Foreign is set for a plugin on go-plugin: its answer has no extended fields.
	Foreign bool `json:"foreign,omitempty"`
	// Transport, Wire and Security are what the probe takes. Empty means the first of the
	// host's that the probe has, and h2 for the wire. A host that does not offer them ends
	// the scene with [Skip].
	Transport string `json:"transport,omitempty"`
	Wire      string `json:"wire,omitempty"`
	Security  string `json:"security,omitempty"`
	// NoMultiplex is set if the probe has no multiplexed mode of go-plugin's.
	NoMultiplex bool `json:"noMultiplex,omitempty"`
	// Curve is that of the probe's key: P-256, P-384 or P-521.
	Curve string `json:"curve,omitempty"`
	// Print is everything on standard output before the connections. Empty means the
	// answer and a line end. Parts in braces are replaced, see [expand].
	Print []string `json:"print,omitempty"`
	// Edits replace fields of the answer: "1" to "7" are those in order, other names are
	// keys of extended fields. A value of "-" leaves the field out.
	Edits map[string]string `json:"edits,omitempty"`
	// Extra is appended to the answer.
	Extra string `json:"extra,omitempty"`
	// CloseOutput is set if the probe closes standard output after that.
	CloseOutput bool `json:"closeOutput,omitempty"`
	// Start is what the probe does in place of serving, [Serve] by default.
	Start Start `json:"start,omitempty"`
	// Call is what the probe does when the first call comes, [Answer] by default.
	Call Call `json:"call,omitempty"`
	// Stop is what the probe does when it is asked to stop, [Exit] by default.
	Stop Stop `json:"stop,omitempty"`
	// Raw is set if the probe breaks HTTP/2 or pw/1 at the first call.
	Raw Raw `json:"raw,omitempty"`
	// Extras is what else the probe does beside its calls.
	Extras Extras `json:"extras,omitempty"`
}

// Start is what the probe does once it has printed.
type Start string

// The ways to start.
const (
	Serve      Start = ""
	Leave      Start = "leave"       // exit with code 3
	Silent     Start = "silent"      // do nothing until the host ends the probe
	NoListener Start = "no listener" // close the socket before the answer
	Mute       Start = "mute"        // take connections, read, and send nothing
	Cut        Start = "cut"         // take connections and close them
	OtherCert  Start = "other cert"  // serve with another certificate than the answer has
)

// Call is what the probe does when the first call comes.
type Call string

// The ways to treat a call.
const (
	Answer Call = ""
	Die    Call = "die"     // exit with code 3
	HangUp Call = "hang up" // close the connections, and live on
	Hang   Call = "hang"    // never answer
	Fail   Call = "fail"    // answer with a status that is not OK
	Write  Call = "write"   // print much on both streams, in lines, then answer
	Long   Call = "long"    // print a line of a mebibyte on both streams, then answer
	Odd    Call = "odd"     // print lines that a log reader may stumble over, then answer
)

// Stop is what the probe does when it is asked to stop.
type Stop string

// The ways to stop.
const (
	Exit     Stop = ""
	Stay     Stop = "stay"     // answer, and live on; SIGTERM is ignored
	Deaf     Stop = "deaf"     // never answer, and live on; SIGTERM is ignored
	Unknown  Stop = "unknown"  // UNIMPLEMENTED; SIGTERM ends the probe
	Leftover Stop = "leftover" // exit, and leave a child process that holds the output
)

// Extras is what the probe does beside its calls.
type Extras string

// The extras.
const (
	Plain     Extras = ""
	Stdio     Extras = "stdio"     // send a mebibyte on StreamStdio before the first answer
	Broker    Extras = "broker"    // send odd messages on the broker's stream
	Ready     Extras = "ready"     // say in the answer that there is something to do
	NotReady  Extras = "not ready" // the same, and Ready fails
	Callbacks Extras = "callbacks" // call the host before the first answer
)

// Raw is how the probe breaks a wire at the first call.
type Raw string

// The ways to break HTTP/2, and gRPC on it.
const (
	NotRaw      Raw = ""
	H2Right     Raw = "h2 right"      // nothing is broken: checks what the host must answer
	H2Garbage   Raw = "h2 garbage"    // bytes that are no HTTP/2 in place of SETTINGS
	H2Reset     Raw = "h2 reset"      // RST_STREAM
	H2GoAway    Raw = "h2 goaway"     // GOAWAY that has not taken the call, and the end
	H2NoStatus  Raw = "h2 no status"  // a trailer without grpc-status
	H2OddStatus Raw = "h2 odd status" // a grpc-status that is not a number
	H2HTTPError Raw = "h2 http error" // status 502 and a page for people
	H2Giant     Raw = "h2 giant"      // the head of a message of 4 GiB
	H2Frame     Raw = "h2 frame"      // a frame of more than the host allows
	H2Headers   Raw = "h2 headers"    // headers without end
	H2Window    Raw = "h2 window"     // more credit than HTTP/2 has, then the answer
	H2Flood     Raw = "h2 flood"      // 20000 pings and settings, then the answer
)

// The ways to break pw/1.
const (
	PWKind     Raw = "pw kind"      // a frame of a kind that is not known
	PWParity   Raw = "pw parity"    // an end for a call of the wrong side
	PWNotBegun Raw = "pw not begun" // a message for a call that has not begun
	PWHeaders  Raw = "pw headers"   // two headers
	PWLong     Raw = "pw long"      // a frame that claims 16 MiB
	PWCredit   Raw = "pw credit"    // messages without credit
	PWZero     Raw = "pw zero"      // credit of 0
	PWMetadata Raw = "pw metadata"  // metadata that does not decode
	PWPiece    Raw = "pw piece"     // a piece of no message
	PWGoodbye  Raw = "pw goodbye"   // goodbye that has not taken the call
	PWTooMuch  Raw = "pw too much"  // a message above the usual limit, of 256 MiB
	PWTrailing Raw = "pw trailing"  // bytes after the last part of an end
	PWUnnamed  Raw = "pw unnamed"   // a call by a method number that was never given
)
