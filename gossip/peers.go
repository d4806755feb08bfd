package gossip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/go-kit/log/level"
)

// lookupTimeout bounds one look-up.
const lookupTimeout = 3 * time.Second

// peer is one entry of Config.Peers.
type peer struct {
	text string
	srv  bool   // look up SRV records of host
	host string // an IP address or a name
	port uint16
}

const (
	dnsPrefix = "dns+"
	srvPrefix = "dnssrv+"
)

func parsePeer(s string) (peer, error) {
	if name, ok := strings.CutPrefix(s, srvPrefix); ok {
		if name == "" || strings.Contains(name, ":") {
			return peer{}, fmt.Errorf("cluster.peers %q: write the name of an SRV record, without a port, such as dnssrv+_gossip._tcp.ringside.monitoring.svc", s)
		}
		return peer{text: s, srv: true, host: name}, nil
	}
	host, port, err := net.SplitHostPort(strings.TrimPrefix(s, dnsPrefix))
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || host == "" || n == 0 || strings.ContainsAny(host, "+/ ") {
		return peer{}, fmt.Errorf("cluster.peers %q: write host:port, dns+host:port or dnssrv+name, such as prometheus-0.prometheus:7946", s)
	}
	return peer{text: s, host: host, port: uint16(n)}, nil
}

// resolver is the part of net.Resolver that peers need.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// peerBook resolves peers, and keeps each one's last answer for when DNS fails.
type peerBook struct {
	peers  []peer
	dns    resolver
	answer map[string][]netip.AddrPort
}

// resolve looks p up. On an error it also returns p's last answer.
func (b *peerBook) resolve(ctx context.Context, p peer) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found, err := b.lookup(ctx, p)
	if err != nil {
		return b.answer[p.text], fmt.Errorf("resolve peer %s: %w", p.text, err)
	}
	b.answer[p.text] = found
	return found, nil
}

func (b *peerBook) lookup(ctx context.Context, p peer) ([]netip.AddrPort, error) {
	if !p.srv {
		return b.lookupHost(ctx, p.host, p.port)
	}
	_, records, err := b.dns.LookupSRV(ctx, "", "", p.host)
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, r := range records {
		found, err := b.lookupHost(ctx, r.Target, r.Port)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

func (b *peerBook) lookupHost(ctx context.Context, host string, port uint16) ([]netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), port)}, nil
	}
	ips, err := b.dns.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, ip := range ips {
		out = append(out, netip.AddrPortFrom(ip.Unmap(), port))
	}
	return out, nil
}

// resolvePeers returns the addresses of all peers. all is false if some peer has none.
func (c *Cluster) resolvePeers(ctx context.Context) (found []netip.AddrPort, all bool) {
	all = true
	for _, p := range c.peers.peers {
		addresses, err := c.peers.resolve(ctx, p)
		all = all && len(addresses) > 0
		found = append(found, addresses...)
		key := problemKey{badDNS, p.text}
		if err == nil {
			c.problems.clear(key)
			continue
		}
		c.metrics.dnsFailures.Inc()
		text := fmt.Sprintf("%v: check the name in cluster.peers", err)
		if len(addresses) > 0 {
			text = fmt.Sprintf("%v: its last answer, %v, stays in use", err, addresses)
		}
		if c.problem(key, text) {
			level.Warn(c.logger).Log("msg", "peer does not resolve", "peer", p.text, "err", text)
		}
	}
	return found, all
}
