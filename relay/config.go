package relay

import (
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/ringside-project/ringside/relay/upstream"
)

// Config is the relay: block of ringside.yml.
type Config struct {
	ListenAddress string            `yaml:"listen_address"`   // host:port; whoever reaches it can confirm hand-overs, so keep it on loopback
	Labels        map[string]string `yaml:"labels,omitempty"` // added to every series that has none of that name
	Upstreams     []upstream.Config `yaml:"upstreams"`        // receivers of the samples; none: nothing is forwarded
}

// DefaultConfig holds the values of fields that the user leaves out.
var DefaultConfig = Config{ListenAddress: "127.0.0.1:9591"}

// UnmarshalYAML fills in the defaults.
func (c *Config) UnmarshalYAML(unmarshal func(any) error) error {
	*c = DefaultConfig
	type plain Config
	return unmarshal((*plain)(c))
}

// Validate says which field is wrong and what to write instead. Its errors
// show no URL and no header value, which may hold secrets.
func (c *Config) Validate() error {
	if _, port, err := net.SplitHostPort(c.ListenAddress); err != nil || !validPort(port) {
		return fmt.Errorf("relay.listen_address: %q is not an address such as %s", c.ListenAddress, DefaultConfig.ListenAddress)
	}
	if err := c.validateLabels(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := range c.Upstreams {
		u, where := &c.Upstreams[i], fmt.Sprintf("relay.upstreams[%d]", i)
		switch {
		case u.Name == "":
			return fmt.Errorf("%s.name: missing; give a name that no other upstream has", where)
		case !utf8.ValidString(u.Name):
			return fmt.Errorf("%s.name: %q is not UTF-8, and a metric could not show it", where, u.Name)
		case seen[u.Name]:
			return fmt.Errorf("%s.name: %q has an entry already; give each upstream a name of its own", where, u.Name)
		}
		seen[u.Name] = true
		if err := u.Validate(where); err != nil {
			return err
		}
	}
	return nil
}

// labelName is a label name that every receiver takes; two leading underscores are Prometheus's own.
var labelName = regexp.MustCompile(`^(_?[a-zA-Z][a-zA-Z0-9_]*)$`)

// maxLabels keeps edits, with the replica label and a tenant's, within what package wire can do.
const maxLabels = 24

func (c *Config) validateLabels() error {
	if n := len(c.Labels); n > maxLabels {
		return fmt.Errorf("relay.labels: %d labels; at most %d can be added", n, maxLabels)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Labels)) {
		value := c.Labels[name]
		switch {
		case !labelName.MatchString(name):
			return fmt.Errorf("relay.labels: %q is not a label name; use letters, digits and underscores, such as cluster", name)
		case value == "":
			return fmt.Errorf("relay.labels: %s has no value; a label without one is no label: leave it out", name)
		case !utf8.ValidString(value):
			return fmt.Errorf("relay.labels: the value of %s is not UTF-8", name)
		}
	}
	return nil
}

// SetDirectory makes relative paths start at dir.
func (c *Config) SetDirectory(dir string) {
	for i := range c.Upstreams {
		c.Upstreams[i].SetDirectory(dir)
	}
}

func validPort(port string) bool {
	_, err := strconv.ParseUint(port, 10, 16)
	return err == nil
}
