package negotiation

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/transport"
)

// An Offer is what a host can do, in order of its preference.
type Offer struct {
	Cookie Cookie
	// Versions are the protocol versions the host speaks, highest first.
	Versions []int
	// MinPort and MaxPort are the range in which a plugin on TCP looks for a port. Both 0:
	// any port.
	MinPort, MaxPort int
	// ClientCert is the PEM of the host's one-time certificate; empty if the host wants no
	// mutual TLS.
	ClientCert string
	// Multiplex is the raw value of PLUGIN_MULTIPLEX_GRPC. Any value but the
	// empty one asks for the answer's seventh field, and a true one for
	// go-plugin's multiplexed mode. It means nothing to a Plugwire plugin.
	Multiplex string
	// SocketDir is the directory for the plugin's socket, which the host makes and removes;
	// empty if it made none.
	SocketDir string
	// SocketGroup is a group, by number or name, whose members may use the plugin's socket
	// too. It is for a plugin that runs as another user than the host knows.
	SocketGroup string
	// Transports in order of preference.
	Transports []transport.ID

	// Plugwire is set if the offer has PLUGWIRE_OFFER, which holds all the fields below.
	// Without it the host is foreign, and the answer must have go-plugin's form.
	Plugwire bool
	// Protocol is the name of the host's protocol.
	Protocol string
	// Sessions, Wires and Security in order of preference. SecurityNone is never sent. In
	// Security it makes [Answer.Check] accept a foreign plugin that has nothing better.
	Sessions, Wires, Security []string
	// Instance is a random value, not empty, that the answer must echo.
	Instance string
	// LogLevel is the lowest level that the host's logger shows: trace, debug, info, warn
	// or error; empty if the host does not send it.
	LogLevel string
	// Lifeline is the descriptor of a pipe whose end of file tells the plugin
	// that its host is gone; 0 for none.
	Lifeline int
	// Callbacks is set if the host has services: it then opens a stream for the plugin's
	// calls.
	Callbacks bool
	// Files are the descriptors that the plugin inherits for a transport, by the
	// transport's name.
	Files map[string][]int
	// Leash is the descriptor of a pipe by which the kernel ends the plugin's
	// process group; 0 for none.
	Leash int
	// Identities identify, by descriptor, the files that the plugin inherits. A plugin
	// ignores a descriptor that is open on another file.
	Identities map[int]FileID
	// HostPID is the number of the host's process, 0 if the host does not send it. In
	// another PID namespace the number has no meaning, so nothing may depend on it alone.
	HostPID int
}

// FileID identifies an open file on this machine: the device and the inode that fstat
// returns.
type FileID struct{ Device, Inode uint64 }

// Multiplexed reports whether a foreign host wants everything on one connection.
func (o *Offer) Multiplexed() bool { return !o.Plugwire && parseMultiplex(o.Multiplex) == "true" }

// Keys of PLUGWIRE_OFFER. An answer has protocol, transports and instance too.
const (
	keyProtocol   = "protocol"
	keyTransports = "transports"
	keySessions   = "sessions"
	keyWires      = "wires"
	keySecurity   = "security"
	keyInstance   = "instance"
	keyLogLevel   = "loglevel"
	keyLifeline   = "lifeline"
	keyCallbacks  = "callbacks"
	keyFiles      = "files"
	keyLeash      = "leash"
	keyIdentities = "identities"
	keyHost       = "host"
)

// Environ returns the variables of the offer as "NAME=value", for a plugin's
// environment.
func (o *Offer) Environ() []string {
	env := []string{
		o.Cookie.Name + "=" + o.Cookie.Value,
		EnvVersions + "=" + joinInts(o.Versions),
		EnvMinPort + "=" + strconv.Itoa(o.MinPort),
		EnvMaxPort + "=" + strconv.Itoa(o.MaxPort),
	}
	optional := func(name, value string) {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	optional(EnvTransports, strings.Join(transportNames(o.Transports), ","))
	optional(EnvClientCert, o.ClientCert)
	optional(EnvMultiplex, o.Multiplex)
	optional(EnvSocketDir, o.SocketDir)
	optional(EnvSocketGroup, o.SocketGroup)
	if o.Plugwire {
		env = append(env, EnvOffer+"="+o.fields().String())
	}
	return env
}

func (o *Offer) fields() fields {
	var f fields
	f = f.withNonempty(keyProtocol, o.Protocol)
	// An empty list is written too: a missing one would mean the default.
	f = f.with(keyTransports, strings.Join(transportStrings(o.Transports), ","))
	f = f.with(keySessions, strings.Join(o.Sessions, ","))
	f = f.with(keyWires, strings.Join(o.Wires, ","))
	f = f.with(keySecurity, strings.Join(offeredSecurity(o.Security), ","))
	f = f.with(keyInstance, o.Instance)
	f = f.withNonempty(keyLogLevel, o.LogLevel)
	if o.Lifeline > 0 {
		f = f.with(keyLifeline, strconv.Itoa(o.Lifeline))
	}
	if o.Callbacks {
		f = f.with(keyCallbacks, callbacksOpened)
	}
	f = f.withNonempty(keyFiles, formatFiles(o.Files))
	if o.Leash > 0 {
		f = f.with(keyLeash, strconv.Itoa(o.Leash))
	}
	f = f.withNonempty(keyIdentities, formatIdentities(o.Identities))
	if o.HostPID > 0 {
		f = f.with(keyHost, strconv.Itoa(o.HostPID))
	}
	return f
}

// callbacksOpened is the only value of the key callbacks. Any other value counts as
// none: it means a way that this side does not know.
const callbacksOpened = "1"

func offeredSecurity(security []string) []string {
	return slices.DeleteFunc(slices.Clone(security), func(s string) bool { return s == handshake.SecurityNone })
}

// ParseOffer reads an offer from the environment of a plugin that expects cookie. goos
// is the operating system (a value of runtime.GOOS): it decides the transports of a
// host that names none.
//
// An error is a [*handshake.Error]. The offer is returned with it, with what was
// understood. That is enough to form the answer: [Offer.Plugwire] and [Offer.Instance].
func ParseOffer(lookup func(name string) (string, bool), cookie Cookie, goos string) (*Offer, error) {
	o := &Offer{Cookie: cookie}
	if value, ok := lookup(cookie.Name); !ok || value != cookie.Value {
		reason := "this program is a plugin: it is meant to be started by its host application, not by hand"
		if ok {
			reason = fmt.Sprintf("the host started this plugin with another value of %s than it expects", cookie.Name)
		}
		// A mistake in the offer does not matter beside a wrong cookie.
		_ = o.parseExtended(lookup)
		return o, &handshake.Error{
			Code: handshake.CodeCookie, Reason: reason,
			Hint: fmt.Sprintf("the host and the plugin must be given the same cookie (this plugin expects %s=%s)", cookie.Name, cookie.Value),
		}
	}
	value := func(name string) string { v, _ := lookup(name); return v }
	o.Versions = parseVersions(value(EnvVersions))
	o.MinPort = parsePort(value(EnvMinPort))
	o.MaxPort = parsePort(value(EnvMaxPort))
	o.ClientCert = value(EnvClientCert)
	o.Multiplex = value(EnvMultiplex)
	o.SocketDir = value(EnvSocketDir)
	o.SocketGroup = value(EnvSocketGroup)
	o.Transports = foreignTransports(value(EnvTransports), goos)
	if err := o.parseExtended(lookup); err != nil {
		return o, &handshake.Error{Code: handshake.CodeOffer, Reason: "the host's " + EnvOffer + " is not valid: " + err.Error()}
	}
	return o, nil
}

// parseExtended reads PLUGWIRE_OFFER, if it is set, and replaces what the other
// variables said.
func (o *Offer) parseExtended(lookup func(string) (string, bool)) error {
	text, _ := lookup(EnvOffer)
	if text == "" {
		return nil
	}
	o.Plugwire = true
	f, err := parseFields(text)
	o.Instance, _ = f.get(keyInstance)
	if err != nil {
		return err
	}
	if err := f.understood(keyProtocol, keyTransports, keySessions, keyWires, keySecurity, keyInstance, keyLogLevel, keyLifeline, keyCallbacks, keyFiles, keyLeash, keyIdentities, keyHost); err != nil {
		return err
	}
	if o.Instance == "" {
		return fmt.Errorf("key %s is missing or empty", keyInstance)
	}
	o.Protocol, _ = f.get(keyProtocol)
	if _, ok := f.get(keyTransports); ok {
		o.Transports = parseTransports(f.list(keyTransports))
	}
	o.Sessions = f.list(keySessions, handshake.SessionDirect)
	o.Wires = f.list(keyWires, handshake.WireH2)
	o.Security = f.list(keySecurity, handshake.SecurityMTLS)
	o.LogLevel, _ = f.get(keyLogLevel)
	if fd, ok := f.get(keyLifeline); ok {
		if o.Lifeline, err = parseDescriptor(fd); err != nil {
			return fmt.Errorf("%s: %w", keyLifeline, err)
		}
	}
	o.Callbacks = f.getOr(keyCallbacks, "") == callbacksOpened
	if o.Files, err = parseFiles(f.list(keyFiles)); err != nil {
		return fmt.Errorf("%s: %w", keyFiles, err)
	}
	if fd, ok := f.get(keyLeash); ok {
		if o.Leash, err = parseDescriptor(fd); err != nil {
			return fmt.Errorf("%s: %w", keyLeash, err)
		}
	}
	if o.Identities, err = parseIdentities(f.list(keyIdentities)); err != nil {
		return fmt.Errorf("%s: %w", keyIdentities, err)
	}
	if pid, ok := f.get(keyHost); ok {
		if o.HostPID, err = parsePID(pid); err != nil {
			return fmt.Errorf("%s: %w", keyHost, err)
		}
	}
	return nil
}

func parsePID(s string) (int, error) {
	pid, err := strconv.ParseUint(s, 10, 31)
	if err != nil || pid == 0 {
		return 0, fmt.Errorf("%.64q is not the number of a process", s)
	}
	return int(pid), nil
}

func parseDescriptor(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n < firstInheritable {
		return 0, fmt.Errorf("%.64q is not a descriptor that can be inherited", s)
	}
	return int(n), nil
}

// formatFiles writes a list of name:descriptor, with a '+' between several
// descriptors.
func formatFiles(files map[string][]int) string {
	var items []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		items = append(items, name+":"+strings.ReplaceAll(joinInts(files[name]), ",", "+"))
	}
	return strings.Join(items, ",")
}

func parseFiles(items []string) (map[string][]int, error) {
	if len(items) == 0 {
		return nil, nil
	}
	files := make(map[string][]int, len(items))
	for _, item := range items {
		name, list, ok := strings.Cut(item, ":")
		descriptors := strings.Split(list, "+")
		if _, dup := files[name]; !ok || dup || len(descriptors) > transport.MaxFiles {
			return nil, fmt.Errorf("%.64q is not a transport and its descriptors, each transport once and with at most %d", item, transport.MaxFiles)
		}
		for _, descriptor := range descriptors {
			fd, err := parseDescriptor(descriptor)
			if err != nil {
				return nil, err
			}
			files[name] = append(files[name], fd)
		}
	}
	return files, nil
}

// formatIdentities writes a list of descriptor:device:inode.
func formatIdentities(ids map[int]FileID) string {
	var items []string
	for _, fd := range slices.Sorted(maps.Keys(ids)) {
		items = append(items, fmt.Sprintf("%d:%d:%d", fd, ids[fd].Device, ids[fd].Inode))
	}
	return strings.Join(items, ",")
}

func parseIdentities(items []string) (map[int]FileID, error) {
	if len(items) == 0 {
		return nil, nil
	}
	ids := make(map[int]FileID, len(items))
	for _, item := range items {
		descriptor, id, _ := strings.Cut(item, ":")
		device, inode, _ := strings.Cut(id, ":")
		fd, err := parseDescriptor(descriptor)
		if err != nil {
			return nil, err
		}
		dev, devErr := strconv.ParseUint(device, 10, 64)
		ino, inoErr := strconv.ParseUint(inode, 10, 64)
		if _, dup := ids[fd]; dup || devErr != nil || inoErr != nil {
			return nil, fmt.Errorf("%.64q is not a descriptor, its device and its inode, each descriptor once", item)
		}
		ids[fd] = FileID{Device: dev, Inode: ino}
	}
	return ids, nil
}

// firstInheritable is the first descriptor after stdin, stdout and stderr.
const firstInheritable = 3

// parseVersions reads go-plugin's list, whose order is random there. Like go-plugin it
// skips items that are not numbers.
func parseVersions(s string) []int {
	var versions []int
	for item := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(item))
		if err == nil && n >= 0 && !slices.Contains(versions, n) && len(versions) < maxItems {
			versions = append(versions, n)
		}
	}
	slices.SortFunc(versions, func(a, b int) int { return b - a })
	return versions
}

func parsePort(s string) int {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0
	}
	return int(n)
}

// foreignTransports reads rpcplugin's list of names, which all mean version 1.
// go-plugin sends no list and speaks unix, or tcp on Windows.
func foreignTransports(s, goos string) []transport.ID {
	names := splitList(s)
	if len(names) == 0 {
		names = []string{"unix", "tcp"}
		if goos == "windows" {
			names = []string{"tcp"}
		}
	}
	for i, name := range names {
		names[i] = name + "/1"
	}
	return parseTransports(names)
}

// parseTransports skips items that do not have the known form, like any unknown item.
func parseTransports(items []string) []transport.ID {
	var ids []transport.ID
	for _, item := range items {
		if id, err := transport.ParseID(item); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

func transportStrings(ids []transport.ID) []string {
	s := make([]string, len(ids))
	for i, id := range ids {
		s[i] = id.String()
	}
	return s
}

// transportNames returns the distinct names in order of first appearance.
func transportNames(ids []transport.ID) []string {
	var names []string
	for _, id := range ids {
		if !slices.Contains(names, id.Name) {
			names = append(names, id.Name)
		}
	}
	return names
}

func joinInts(values []int) string {
	s := make([]string, len(values))
	for i, v := range values {
		s[i] = strconv.Itoa(v)
	}
	return strings.Join(s, ",")
}
