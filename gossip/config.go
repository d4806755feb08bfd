package gossip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/common/model"
)

// maxName bounds cluster.name, node and zone, in bytes. They travel in every packet or message.
const maxName = 128

// Config is the cluster block of ringside.yml.
type Config struct {
	// Name is the cluster's name. Sidecars of another name never join.
	Name string `yaml:"name"`
	// Node is this member's name, unique in the cluster and stable over restarts. Default: the host name.
	Node string `yaml:"node"`
	// Zone is where this member runs, or empty.
	Zone string `yaml:"zone"`
	// ListenAddress is the IP address and port of gossip, TCP and UDP. Port 0 takes a free one.
	ListenAddress string `yaml:"listen_address"`
	// AdvertiseAddress is the host or host:port at which others reach this member. Default: derived from ListenAddress.
	AdvertiseAddress string `yaml:"advertise_address"`
	// Peers are where other members may be found: host:port, dns+host:port or dnssrv+name.
	Peers []string `yaml:"peers"`
	// KeyFile holds base64 AES keys, one a line: the first encrypts, all decrypt. It is re-read when it changes.
	KeyFile string `yaml:"key_file"`
	// Insecure allows gossip without a key on an address that is not loopback.
	Insecure bool `yaml:"insecure"`
	// RejoinInterval is how often peers are resolved, and those missing joined, again.
	RejoinInterval model.Duration `yaml:"rejoin_interval"`
	// MinMembers is the number of members below which a sidecar adopts nothing.
	MinMembers int `yaml:"min_members"`
}

// DefaultConfig is what an empty cluster block means. Node is filled in when a block is read.
var DefaultConfig = Config{
	ListenAddress:  "0.0.0.0:7946",
	RejoinInterval: model.Duration(15 * time.Second),
	MinMembers:     1,
}

// UnmarshalYAML implements yaml.Unmarshaler: absent fields get their defaults.
func (c *Config) UnmarshalYAML(unmarshal func(any) error) error {
	*c = DefaultConfig
	type plain Config
	if err := unmarshal((*plain)(c)); err != nil {
		return err
	}
	return c.defaultNode()
}

func (c *Config) defaultNode() error {
	if c.Node != "" {
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("cluster.node: read the host name: %w", err)
	}
	c.Node = host
	return nil
}

// SetDirectory makes a relative KeyFile relative to dir.
func (c *Config) SetDirectory(dir string) {
	if c.KeyFile != "" && !filepath.IsAbs(c.KeyFile) {
		c.KeyFile = filepath.Join(dir, c.KeyFile)
	}
}

// Validate says, for the first thing wrong, what to write instead. It reads KeyFile.
func (c *Config) Validate() error {
	switch {
	case c.Name == "":
		return errors.New("cluster.name is missing: write a name that all sidecars of this cluster share, such as prod/monitoring")
	case c.RejoinInterval <= 0:
		return fmt.Errorf("cluster.rejoin_interval is %s: write a duration above zero, such as 15s", c.RejoinInterval)
	case c.MinMembers < 1:
		return fmt.Errorf("cluster.min_members is %d: write 1 or more", c.MinMembers)
	}
	for _, n := range []struct{ field, value, such string }{
		{"cluster.name", c.Name, "prod/monitoring"}, {"cluster.node", c.Node, "prometheus-0"}, {"cluster.zone", c.Zone, "eu-1a"},
	} {
		if err := checkName(n.value, n.such); err != nil {
			return fmt.Errorf("%s %w", n.field, err)
		}
	}
	listen, err := parseListen(c.ListenAddress)
	if err != nil {
		return err
	}
	host, _, err := c.advertise()
	if err != nil {
		return err
	}
	if host == "" && listen.Addr() == netip.IPv6Unspecified() {
		return fmt.Errorf("cluster.advertise_address is missing, and listen_address %s does not tell it: write the address at which other members reach this one", c.ListenAddress)
	}
	for _, s := range c.Peers {
		if _, err := parsePeer(s); err != nil {
			return err
		}
	}
	if c.KeyFile != "" {
		if _, err := readKeys(c.KeyFile); err != nil {
			return fmt.Errorf("cluster.key_file: %w", err)
		}
		return nil
	}
	if !c.Insecure && !c.loopback(listen) {
		where := "listen_address " + c.ListenAddress
		if listen.Addr().IsLoopback() {
			where = "advertise_address " + c.AdvertiseAddress
		}
		return fmt.Errorf("cluster.key_file is missing, and %s is not loopback: "+
			"run `ringside keygen > gossip.key` and write `key_file: gossip.key`, or write `insecure: true` to gossip without a key", where)
	}
	return nil
}

// checkName refuses what could not be shown or sent, and names such as could. Empty is for the caller to judge.
func checkName(s, such string) error {
	if len(s) > maxName {
		return fmt.Errorf("has %d bytes: write at most %d", len(s), maxName)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("%q has characters that cannot be shown: write a plain name such as %s", s, such)
	}
	return nil
}

// parseListen wants an IP address: memberlist would take a host name to mean all interfaces.
func parseListen(s string) (netip.AddrPort, error) {
	hint := "write an IP address and a port, such as 0.0.0.0:7946"
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("cluster.listen_address %q: %w: %s", s, err, hint)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("cluster.listen_address %q: %q is not an IP address: %s", s, host, hint)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("cluster.listen_address %q: %q is not a port: %s", s, port, hint)
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), nil
}

// advertise splits AdvertiseAddress. Port 0 means the port we listen on.
func (c *Config) advertise() (host string, port uint16, err error) {
	s := c.AdvertiseAddress
	if s == "" {
		return "", 0, nil
	}
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.String(), 0, nil
	}
	if !strings.Contains(s, ":") {
		return s, 0, nil
	}
	host, p, err := net.SplitHostPort(s)
	n, perr := strconv.ParseUint(p, 10, 16)
	if err != nil || perr != nil || host == "" || n == 0 {
		return "", 0, fmt.Errorf("cluster.advertise_address %q: write the host, or host:port, at which other members reach this one, such as 10.0.0.7:7946", s)
	}
	return host, uint16(n), nil
}

// loopback reports whether only this machine can reach the gossip port.
func (c *Config) loopback(listen netip.AddrPort) bool {
	host, _, err := c.advertise()
	if err != nil || !listen.Addr().IsLoopback() {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "" || host == "localhost" || err == nil && ip.IsLoopback()
}
