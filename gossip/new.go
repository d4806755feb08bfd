package gossip

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/go-kit/log"
	"github.com/hashicorp/go-sockaddr"
	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
)

// New checks cfg, reads the keys, binds the gossip port and answers those who call there. It calls nobody: that is for Run, which must be called
// to end all this.
func New(cfg Config, logger log.Logger, reg prometheus.Registerer) (*Cluster, error) {
	return newCluster(cfg, logger, reg, nil)
}

// newCluster takes a transport to use instead of the network, for simulations.
func newCluster(cfg Config, logger log.Logger, reg prometheus.Registerer, transport memberlist.NodeAwareTransport) (*Cluster, error) {
	if err := cfg.defaultNode(); err != nil {
		return nil, err
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Cluster{
		cfg:         cfg,
		logger:      logger,
		ring:        &memberlist.Keyring{},
		peers:       peerBook{dns: net.DefaultResolver, answer: map[string][]netip.AddrPort{}},
		problems:    problems{seen: map[problemKey]*problem{}},
		lines:       make(chan line, maxLines),
		changed:     make(signal, 1),
		deliverable: make(signal, 1),
		updates:     make(chan Snapshot, 1),
		leaving:     make(chan struct{}),
		book:        newBook(),
	}
	for _, s := range cfg.Peers {
		p, err := parsePeer(s)
		if err != nil {
			return nil, err
		}
		c.peers.peers = append(c.peers.peers, p)
	}
	if err := c.readKeys(); err != nil {
		return nil, err
	}
	c.metrics = newMetrics(reg)
	c.metrics.keys.Set(float64(len(c.ring.GetKeys())))
	if err := c.create(transport); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Cluster) readKeys() error {
	if c.cfg.KeyFile == "" {
		return nil
	}
	content, err := os.ReadFile(c.cfg.KeyFile)
	if err != nil {
		return fmt.Errorf("cluster.key_file: %w", err)
	}
	keys, err := parseKeys(c.cfg.KeyFile, content)
	if err != nil {
		return err
	}
	c.keyFile = content
	return setKeys(c.ring, keys)
}

// create binds and makes the memberlist.
func (c *Cluster) create(transport memberlist.NodeAwareTransport) error {
	listenOn, err := parseListen(c.cfg.ListenAddress)
	if err != nil {
		return err
	}
	ip, port, err := c.cfg.advertiseIP(listenOn)
	if err != nil {
		return err
	}
	conf := tuned()
	conf.Name = c.cfg.Node
	conf.Label = c.cfg.Name
	conf.Keyring = c.ring
	conf.Logger = stdlog.New(logWriter{c}, "", 0)
	d := delegate{c}
	conf.Delegate, conf.Events, conf.Conflict = d, d, d
	if transport == nil {
		t, err := listen(listenOn, conf)
		if err != nil {
			return err
		}
		listenOn = netip.AddrPortFrom(listenOn.Addr(), uint16(t.GetAutoBindPort()))
		transport = t
	}
	if port == 0 {
		port = listenOn.Port()
	}
	conf.Transport = transport
	conf.BindAddr, conf.BindPort = listenOn.Addr().String(), int(listenOn.Port())
	conf.AdvertiseAddr, conf.AdvertisePort = ip, int(port)
	finalIP, finalPort, err := transport.FinalAdvertiseAddr(ip, int(port))
	if err != nil {
		return errors.Join(fmt.Errorf("advertise %s: %w", ip, err), transport.Shutdown())
	}
	c.listen = listenOn
	address, _ := netip.AddrFromSlice(finalIP)
	c.address = netip.AddrPortFrom(address.Unmap(), uint16(finalPort))
	c.own = message{
		Name: c.cfg.Node, Address: c.address.String(), Incarnation: uint64(time.Now().UnixNano()),
		Facts: Facts{Zone: c.cfg.Zone, State: Joining},
	}
	c.mu.Lock()
	c.say()
	c.mu.Unlock()
	c.list, err = memberlist.Create(conf)
	if err != nil {
		return errors.Join(fmt.Errorf("start memberlist: %w", err), transport.Shutdown())
	}
	return nil
}

// advertiseIP is the IP address to advertise, and the port unless it is the one listened on.
func (c *Config) advertiseIP(listen netip.AddrPort) (string, uint16, error) {
	host, port, err := c.advertise()
	if err != nil {
		return "", 0, err
	}
	if host == "" && !listen.Addr().IsUnspecified() {
		return listen.Addr().String(), port, nil
	}
	if host == "" {
		ip, err := sockaddr.GetPrivateIP()
		if err != nil || ip == "" {
			return "", 0, errors.Join(err, errors.New("cluster.advertise_address is missing, and this machine has no private address: "+
				"write the address at which other members reach this one"))
		}
		return ip, port, nil
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return host, port, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", 0, fmt.Errorf("cluster.advertise_address %s: %w: write an IP address, or a name that resolves here", c.AdvertiseAddress, err)
	}
	return ips[0].Unmap().String(), port, nil
}
