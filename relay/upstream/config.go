package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/sigv4"
	"golang.org/x/net/http/httpguts"

	"github.com/ringside-project/ringside/relay/hashring"
	"github.com/ringside-project/ringside/relay/wire"
)

// Config is one receiver: one entry of relay.upstreams in ringside.yml.
type Config struct {
	Name                string                  `yaml:"name"`                            // unique; names it in metrics and in the log
	Endpoints           []Endpoint              `yaml:"endpoints,omitempty"`             // without credentials
	Hashring            Hashring                `yaml:"hashring,omitempty"`              // zero: ketama over the endpoints
	ReplicationFactor   int                     `yaml:"replication_factor"`              // copies of each series over the endpoints
	Required            bool                    `yaml:"required"`                        // false: best effort, holds up nobody
	QueueBytes          units.Base2Bytes        `yaml:"queue_bytes"`                     // of requests that wait for a best-effort upstream, compressed
	ReplicaLabel        string                  `yaml:"replica_label"`                   // keep or drop
	ProtobufMessage     string                  `yaml:"protobuf_message"`                // auto, prometheus.WriteRequest or io.prometheus.write.v2.Request
	Tenant              Tenant                  `yaml:"tenant"`                          // zero: no tenant is named
	RemoteTimeout       model.Duration          `yaml:"remote_timeout"`                  // of one request, 1s to 25s
	WriteRelabelConfigs []*relabel.Config       `yaml:"write_relabel_configs,omitempty"` // see the labels as they are to be sent
	SigV4               *sigv4.SigV4Config      `yaml:"sigv4,omitempty"`                 // nil: requests are not signed
	HTTPConfig          config.HTTPClientConfig `yaml:"http_config"`
}

// Endpoint is where an upstream is written to. In ringside.yml it may be the
// address alone.
type Endpoint struct {
	Address string `yaml:"address"`      // http(s) URL; dnssrv+ before it: its host is an SRV record's name
	AZ      string `yaml:"az,omitempty"` // availability zone, over which copies are spread
}

// Hashring says how series are placed on endpoints.
type Hashring struct {
	File      string `yaml:"file,omitempty"`      // hashrings as of Thanos Receive; instead of endpoints
	Algorithm string `yaml:"algorithm,omitempty"` // ketama or hashmod, of hashrings that name none; empty: ketama
	URL       string `yaml:"url,omitempty"`       // what becomes of an address in File that is not a URL: its host replaces this one's
}

// Tenant says how an upstream learns whose samples it gets.
type Tenant struct {
	Header string        `yaml:"header"`          // HTTP header that carries the tenant
	Value  config.Secret `yaml:"value,omitempty"` // the one tenant of everything, or
	Label  string        `yaml:"label"`           // the series label that names the tenant, and is not sent on
}

// What the fields of a Config may say.
const (
	keepReplicaLabel = "keep"
	dropReplicaLabel = "drop"
	messageAuto      = "auto"

	minTimeout = time.Second
	maxTimeout = 25 * time.Second // under the 30 s after which Prometheus gives up
)

const (
	srvPrefix       = "dnssrv+"
	exampleEndpoint = "http://receive-0:19291/api/v1/receive"
	exampleSRV      = "dnssrv+http://_http._tcp.receive.monitoring.svc/api/v1/receive"
)

// DefaultConfig holds the values of fields that the user leaves out.
var DefaultConfig = Config{
	ReplicationFactor: 1,
	Required:          true,
	QueueBytes:        64 * units.MiB,
	ReplicaLabel:      keepReplicaLabel,
	ProtobufMessage:   messageAuto,
	RemoteTimeout:     model.Duration(20 * time.Second),
}

// UnmarshalYAML fills in the defaults. Other than elsewhere in Prometheus's
// configuration, HTTP/2 is off unless asked for: a connection for each request
// under way is faster here; and redirects are never followed.
func (c *Config) UnmarshalYAML(unmarshal func(any) error) error {
	*c = DefaultConfig
	type plain Config
	if err := unmarshal((*plain)(c)); err != nil {
		return err
	}
	var asked struct {
		HTTPConfig struct {
			EnableHTTP2     bool           `yaml:"enable_http2"`
			FollowRedirects bool           `yaml:"follow_redirects"`
			Rest            map[string]any `yaml:",inline"`
		} `yaml:"http_config"`
		Rest map[string]any `yaml:",inline"`
	}
	if err := unmarshal(&asked); err != nil {
		return err
	}
	if asked.HTTPConfig.FollowRedirects {
		return errors.New("redirects are never followed, for samples and credentials would go elsewhere; leave it out, and name the right endpoint")
	}
	c.HTTPConfig.EnableHTTP2, c.HTTPConfig.FollowRedirects = asked.HTTPConfig.EnableHTTP2, false
	return nil
}

// UnmarshalYAML takes the address alone, too.
func (e *Endpoint) UnmarshalYAML(unmarshal func(any) error) error {
	*e = Endpoint{}
	if unmarshal(&e.Address) == nil {
		return nil
	}
	type plain Endpoint
	return unmarshal((*plain)(e))
}

// MarshalYAML gives the address alone where there is no zone.
func (e Endpoint) MarshalYAML() (any, error) {
	if e.AZ == "" {
		return e.Address, nil
	}
	type plain Endpoint
	return plain(e), nil
}

// SetDirectory makes relative paths start at dir.
func (c *Config) SetDirectory(dir string) {
	c.HTTPConfig.SetDirectory(dir)
	c.Hashring.File = config.JoinDir(dir, c.Hashring.File)
}

// Validate says which field is wrong and what to write instead; where is the
// path of the entry. Its errors show no URL and no header value, which may
// hold secrets. It does not look at the files named.
func (c *Config) Validate(where string) error {
	if err := c.validateEndpoints(); err != nil {
		return fmt.Errorf("%s.%w", where, err)
	}
	switch timeout := time.Duration(c.RemoteTimeout); {
	case !slices.Contains([]string{keepReplicaLabel, dropReplicaLabel}, c.ReplicaLabel):
		return fmt.Errorf("%s.replica_label: %q; write %s or %s", where, c.ReplicaLabel, keepReplicaLabel, dropReplicaLabel)
	case !slices.Contains([]string{messageAuto, string(wire.V1), string(wire.V2)}, c.ProtobufMessage):
		return fmt.Errorf("%s.protobuf_message: %q; write %s, %s or %s", where, c.ProtobufMessage, messageAuto, wire.V1, wire.V2)
	case timeout < minTimeout || timeout > maxTimeout:
		return fmt.Errorf("%s.remote_timeout: %s; it must be from %s to %s, so that Prometheus gets its answer before it gives up", where, c.RemoteTimeout, minTimeout, maxTimeout)
	case c.QueueBytes < units.MiB:
		return fmt.Errorf("%s.queue_bytes: %s; it must be 1MiB or more, to hold a request", where, c.QueueBytes)
	}
	if err := c.Tenant.validate(); err != nil {
		return fmt.Errorf("%s.tenant: %w", where, err)
	}
	for i, r := range c.WriteRelabelConfigs {
		if r == nil {
			return fmt.Errorf("%s.write_relabel_configs[%d]: empty; write a rule, or leave it out", where, i)
		}
		if err := r.Validate(model.UTF8Validation); err != nil {
			return fmt.Errorf("%s.write_relabel_configs[%d]: %w", where, i, err)
		}
	}
	if err := c.HTTPConfig.Validate(); err != nil {
		return fmt.Errorf("%s.http_config: %w", where, err)
	}
	return c.validateSigV4(where)
}

func (c *Config) validateSigV4(where string) error {
	if c.SigV4 == nil {
		return nil
	}
	if err := c.SigV4.Validate(); err != nil {
		return fmt.Errorf("%s.sigv4: %w", where, err)
	}
	if h := &c.HTTPConfig; h.BasicAuth != nil || h.Authorization != nil || h.OAuth2 != nil {
		return fmt.Errorf("%s.sigv4: http_config has credentials too, and a request carries only one kind; keep one of the two", where)
	}
	return nil
}

func (c *Config) validateEndpoints() error {
	if err := c.Hashring.validate(len(c.Endpoints)); err != nil {
		return err
	}
	if len(c.Endpoints) == 0 && c.Hashring.File == "" {
		return fmt.Errorf("endpoints: missing; list the URLs to write to, such as %s", exampleEndpoint)
	}
	known := c.Hashring.File == "" // how many endpoints there are
	for i, e := range c.Endpoints {
		if err := e.validate(); err != nil {
			return fmt.Errorf("endpoints[%d]: %w", i, err)
		}
		if e.AZ != "" && c.Hashring.Algorithm == string(hashring.Hashmod) {
			return fmt.Errorf("endpoints[%d].az: %s knows no zones; leave it out, or write algorithm: %s", i, hashring.Hashmod, hashring.Ketama)
		}
		first := slices.IndexFunc(c.Endpoints, func(other Endpoint) bool { return other.Address == e.Address })
		if first < i {
			return fmt.Errorf("endpoints[%d]: the same as endpoints[%d]; copies must go to different endpoints", i, first)
		}
		known = known && !strings.HasPrefix(e.Address, srvPrefix)
	}
	switch n := c.ReplicationFactor; {
	case known && (n < 1 || n > len(c.Endpoints)):
		return fmt.Errorf("replication_factor: %d; with these endpoints it must be from 1 to %d", n, len(c.Endpoints))
	case n < 1:
		return fmt.Errorf("replication_factor: %d; it must be 1 or more", n)
	}
	return nil
}

func (e *Endpoint) validate() error {
	text, srv := strings.CutPrefix(e.Address, srvPrefix)
	if err := validURL(text); err != nil {
		return err
	}
	if u, _ := url.Parse(text); srv && u.Port() != "" {
		return fmt.Errorf("has a port, which is for the SRV record to say; write the record's name alone, as in %s", exampleSRV)
	}
	return nil
}

func (h *Hashring) validate(endpoints int) error {
	switch {
	case h.File != "" && endpoints > 0:
		return errors.New("hashring.file: endpoints are given too, and the file lists its own; keep one of the two")
	case h.Algorithm != "" && h.Algorithm != string(hashring.Ketama) && h.Algorithm != string(hashring.Hashmod):
		return fmt.Errorf("hashring.algorithm: %q; write %s or %s", h.Algorithm, hashring.Ketama, hashring.Hashmod)
	case h.URL != "" && h.File == "":
		return errors.New("hashring.url: there is no file whose addresses it would complete; name one in file, or leave it out")
	case h.URL != "":
		if err := validURL(h.URL); err != nil {
			return fmt.Errorf("hashring.url: %w", err)
		}
	}
	return nil
}

func (h *Hashring) algorithm() hashring.Algorithm {
	if h.Algorithm == "" {
		return hashring.Ketama
	}
	return hashring.Algorithm(h.Algorithm)
}

// expand makes a URL of an address in the file.
func (h *Hashring) expand(address string) (string, error) {
	if strings.HasPrefix(address, "http://") || strings.HasPrefix(address, "https://") {
		return address, validURL(address)
	}
	if h.URL == "" {
		return "", fmt.Errorf("not a URL; say in hashring.url what becomes of such an address, such as %s", exampleEndpoint)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.Trim(address, "[]")
	}
	u, err := url.Parse(h.URL)
	if err != nil {
		return "", errors.New("hashring.url is not a URL")
	}
	port := u.Port()
	switch {
	case port != "":
		u.Host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		u.Host = "[" + host + "]"
	default:
		u.Host = host
	}
	return u.String(), validURL(u.String())
}

func (t *Tenant) validate() error {
	switch {
	case *t == Tenant{}:
		return nil
	case t.Header == "" || (t.Value == "") == (t.Label == ""):
		return errors.New("give a header, and either value or label")
	case !httpguts.ValidHeaderFieldName(t.Header):
		return fmt.Errorf("header: %q is not the name of an HTTP header", t.Header)
	case !httpguts.ValidHeaderFieldValue(string(t.Value)):
		return errors.New("value: not what an HTTP header can carry")
	}
	if _, reserved := config.ReservedHeaders[http.CanonicalHeaderKey(t.Header)]; reserved {
		return fmt.Errorf("header: %s says something else in a request; name the header that the receiver reads the tenant from, such as THANOS-TENANT", t.Header)
	}
	return nil
}

func validURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		return fmt.Errorf("not an http or https URL such as %s", exampleEndpoint)
	case u.User != nil:
		return errors.New("holds credentials; give them in http_config.basic_auth, where they stay secret")
	}
	return nil
}
