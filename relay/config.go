package relay

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"

	"github.com/prometheus/common/config"
	"golang.org/x/net/http/httpguts"
)

// Config is the relay: block of ringside.yml.
type Config struct {
	ListenAddress string     `yaml:"listen_address"` // host:port; whoever reaches it can confirm hand-overs, so keep it on loopback
	Upstreams     []Upstream `yaml:"upstreams"`      // receivers of the samples; none: nothing is forwarded
}

// Upstream is one receiver: one entry of relay.upstreams.
type Upstream struct {
	Name              string                  `yaml:"name"`               // unique; names it in metrics and in the log
	Endpoints         []string                `yaml:"endpoints"`          // http(s) URLs, without credentials
	ReplicationFactor int                     `yaml:"replication_factor"` // copies of each series over the endpoints
	Required          bool                    `yaml:"required"`           // false: best effort, holds up nobody
	ReplicaLabel      string                  `yaml:"replica_label"`      // keep or drop
	ProtobufMessage   string                  `yaml:"protobuf_message"`   // auto, prometheus.WriteRequest or io.prometheus.write.v2.Request
	Tenant            Tenant                  `yaml:"tenant"`             // zero: no tenant is named
	HTTPConfig        config.HTTPClientConfig `yaml:"http_config"`
}

// Tenant says how an upstream learns whose samples it gets.
type Tenant struct {
	Header string `yaml:"header"` // HTTP header that carries the tenant
	Value  string `yaml:"value"`  // the one tenant of everything, or
	Label  string `yaml:"label"`  // the series label that names the tenant
}

// What the fields of an Upstream may say.
const (
	keepReplicaLabel = "keep"
	dropReplicaLabel = "drop"
	messageAuto      = "auto"
)

// DefaultConfig holds the values of fields that the user leaves out.
var DefaultConfig = Config{ListenAddress: "127.0.0.1:9591"}

var defaultUpstream = Upstream{
	ReplicationFactor: 1,
	Required:          true,
	ReplicaLabel:      keepReplicaLabel,
	ProtobufMessage:   messageAuto,
	HTTPConfig:        config.DefaultHTTPClientConfig,
}

// UnmarshalYAML fills in the defaults.
func (c *Config) UnmarshalYAML(unmarshal func(any) error) error {
	*c = DefaultConfig
	type plain Config
	return unmarshal((*plain)(c))
}

// UnmarshalYAML fills in the defaults.
func (u *Upstream) UnmarshalYAML(unmarshal func(any) error) error {
	*u = defaultUpstream
	type plain Upstream
	return unmarshal((*plain)(u))
}

// Validate says which field is wrong and what to write instead. Its errors
// show no URL and no header value, which may hold secrets.
func (c *Config) Validate() error {
	if _, port, err := net.SplitHostPort(c.ListenAddress); err != nil || !validPort(port) {
		return fmt.Errorf("relay.listen_address: %q is not an address such as %s", c.ListenAddress, DefaultConfig.ListenAddress)
	}
	seen := map[string]bool{}
	for i := range c.Upstreams {
		u, where := &c.Upstreams[i], fmt.Sprintf("relay.upstreams[%d]", i)
		switch {
		case u.Name == "":
			return fmt.Errorf("%s.name: missing; give a name that no other upstream has", where)
		case seen[u.Name]:
			return fmt.Errorf("%s.name: %q has an entry already; give each upstream a name of its own", where, u.Name)
		}
		seen[u.Name] = true
		if err := u.validate(where); err != nil {
			return err
		}
	}
	return nil
}

// SetDirectory makes relative paths start at dir.
func (c *Config) SetDirectory(dir string) {
	for i := range c.Upstreams {
		c.Upstreams[i].HTTPConfig.SetDirectory(dir)
	}
}

func (u *Upstream) validate(where string) error {
	if len(u.Endpoints) == 0 {
		return fmt.Errorf("%s.endpoints: missing; list the URLs to write to, such as http://receive-0:19291/api/v1/receive", where)
	}
	for i, endpoint := range u.Endpoints {
		if err := validEndpoint(endpoint); err != nil {
			return fmt.Errorf("%s.endpoints[%d]: %w", where, i, err)
		}
		if first := slices.Index(u.Endpoints, endpoint); first < i {
			return fmt.Errorf("%s.endpoints[%d]: the same as endpoints[%d]; copies must go to different endpoints", where, i, first)
		}
	}
	if u.ReplicationFactor < 1 || u.ReplicationFactor > len(u.Endpoints) {
		return fmt.Errorf("%s.replication_factor: %d; with these endpoints it must be from 1 to %d", where, u.ReplicationFactor, len(u.Endpoints))
	}
	if !slices.Contains([]string{keepReplicaLabel, dropReplicaLabel}, u.ReplicaLabel) {
		return fmt.Errorf("%s.replica_label: %q; write %s or %s", where, u.ReplicaLabel, keepReplicaLabel, dropReplicaLabel)
	}
	if !slices.Contains([]string{messageAuto, string(messageV1), string(messageV2)}, u.ProtobufMessage) {
		return fmt.Errorf("%s.protobuf_message: %q; write %s, %s or %s", where, u.ProtobufMessage, messageAuto, messageV1, messageV2)
	}
	if err := u.Tenant.validate(); err != nil {
		return fmt.Errorf("%s.tenant: %w", where, err)
	}
	if err := u.HTTPConfig.Validate(); err != nil {
		return fmt.Errorf("%s.http_config: %w", where, err)
	}
	return nil
}

func (t *Tenant) validate() error {
	switch {
	case *t == Tenant{}:
		return nil
	case t.Header == "" || (t.Value == "") == (t.Label == ""):
		return errors.New("give a header, and either value or label")
	case !httpguts.ValidHeaderFieldName(t.Header):
		return fmt.Errorf("header: %q is not the name of an HTTP header", t.Header)
	case !httpguts.ValidHeaderFieldValue(t.Value):
		return errors.New("value: not what an HTTP header can carry")
	}
	return nil
}

func validEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		return errors.New("not an http or https URL such as http://receive-0:19291/api/v1/receive")
	case u.User != nil:
		return errors.New("holds credentials; give them in http_config.basic_auth, where they stay secret")
	}
	return nil
}

func validPort(port string) bool {
	_, err := strconv.ParseUint(port, 10, 16)
	return err == nil
}
