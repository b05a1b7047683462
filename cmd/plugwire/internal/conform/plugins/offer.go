package plugins

import (
	"cmp"
	"crypto/rand"
	"os"
	"strconv"
	"strings"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

// offer is what a host sets for a plugin. The zero value is what a host on go-plugin sets
// that wants no TLS.
type offer struct {
	noCookie    bool
	cookieValue string // in place of the right one
	versions    string // in place of those that the flags name
	dir         string // PLUGIN_UNIX_SOCKET_DIR; empty: not set
	hostCert    *identity
	clientCert  string // in place of hostCert
	multiplex   string // PLUGIN_MULTIPLEX_GRPC
	ports       string // MIN-MAX; empty: any
	transports  string // PLUGIN_TRANSPORTS; empty: not set

	// plugwire has the fields of PLUGWIRE_OFFER, key and value; nil under a foreign host.
	// An empty value leaves the field out.
	plugwire map[string]string
	// rawOffer is PLUGWIRE_OFFER as it stands, in place of fields.
	rawOffer string
	// lifeline makes a lifeline.
	lifeline bool
	vars     []string // other variables
}

// ours returns the offer of a Plugwire host, changed by fields: key, value, and so on.
func ours(fields ...string) offer {
	o := offer{lifeline: true, transports: "unix,tcp", plugwire: map[string]string{
		"instance":   rand.Text(),
		"transports": "unix/1,tcp/1",
		"sessions":   "direct",
		"wires":      "h2",
		"security":   "peercred,mtls",
		"loglevel":   "info",
		"host":       strconv.Itoa(os.Getpid()),
	}}
	for i := 0; i+1 < len(fields); i += 2 {
		o.plugwire[fields[i]] = fields[i+1]
	}
	return o
}

// lifelineFD is the descriptor of a lifeline in the plugin.
const lifelineFD = 3

// environ returns the variables of the offer.
func (s *suite) environ(c *conform.Case, o *offer) []string {
	vars := []string{
		"PLUGIN_PROTOCOL_VERSIONS=" + cmp.Or(o.versions, join(s.versions)),
	}
	if !o.noCookie {
		vars = append(vars, s.cookieName+"="+cmp.Or(o.cookieValue, s.cookieValue))
	}
	low, high, _ := strings.Cut(cmp.Or(o.ports, "0-0"), "-")
	vars = append(vars, "PLUGIN_MIN_PORT="+low, "PLUGIN_MAX_PORT="+high)
	set := func(name, value string) {
		if value != "" {
			vars = append(vars, name+"="+value)
		}
	}
	set("PLUGIN_UNIX_SOCKET_DIR", o.dir)
	set("PLUGIN_TRANSPORTS", o.transports)
	set("PLUGIN_MULTIPLEX_GRPC", o.multiplex)
	if o.clientCert == "" && o.hostCert != nil {
		o.clientCert = o.hostCert.pem
	}
	set("PLUGIN_CLIENT_CERT", o.clientCert)
	if o.rawOffer == "" && o.plugwire != nil {
		o.rawOffer = o.fields()
	}
	set("PLUGWIRE_OFFER", o.rawOffer)
	return c.Environ(append(vars, o.vars...)...)
}

// order is the order in which a host writes the fields that every plugin may know.
var order = []string{"protocol", "transports", "sessions", "wires", "security", "instance", "loglevel", "lifeline", "host"}

// fields returns the text of PLUGWIRE_OFFER.
func (o *offer) fields() string {
	var fields []string
	written := map[string]bool{}
	write := func(key string) {
		if value := o.plugwire[key]; value != "" && !written[key] {
			fields = append(fields, key+"="+value)
		}
		written[key] = true
	}
	for _, key := range order {
		write(key)
	}
	for key := range o.plugwire {
		write(key)
	}
	return strings.Join(fields, "|")
}

func join(numbers []int) string {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = strconv.Itoa(n)
	}
	return strings.Join(texts, ",")
}
