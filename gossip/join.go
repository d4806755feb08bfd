package gossip

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log/level"
)

const (
	// firstJoins is the pause between attempts while membership is unknown.
	firstJoins = time.Second
	// loneAfter is how long to try before taking it that nobody is there.
	loneAfter = 5 * time.Second
	// maxJoins is how many addresses are tried at a time.
	maxJoins = 8
)

// rejoin joins the peers, and all others that were lost, that are not living members: at once, and then again and again until ctx ends or
// this member leaves. memberlist by itself never heals a partition.
func (c *Cluster) rejoin(ctx context.Context) {
	lone := time.AfterFunc(loneAfter, func() { c.setKnown("no peer has answered") })
	defer lone.Stop()
	down := map[netip.AddrPort]string{}
	for {
		addresses, alone := c.missing(ctx)
		if alone {
			c.setKnown("all peers are this member itself")
		}
		c.joinAll(addresses, down)
		c.metrics.lastRejoin.SetToCurrentTime()
		pause := time.Duration(c.cfg.RejoinInterval)
		if !c.isKnown() {
			pause = min(pause, firstJoins)
		}
		select {
		case <-ctx.Done():
			return
		case <-c.leaving:
			return
		case <-time.After(pause):
		}
	}
}

// missing are the addresses of peers, and of members that died, where no living member is. alone says that all peers are this member.
func (c *Cluster) missing(ctx context.Context) (out []netip.AddrPort, alone bool) {
	peers, all := c.resolvePeers(ctx)
	own := ownAddresses(c.address, c.listen)
	peers = removeAll(peers, own)
	alone = all && len(peers) == 0

	c.mu.Lock()
	for _, address := range c.book.dead() {
		if a, err := netip.ParseAddrPort(address); err == nil {
			peers = append(peers, a)
		}
	}
	seen := map[netip.AddrPort]bool{}
	for _, o := range c.book.alive(c.cfg.Node) {
		if a, err := netip.ParseAddrPort(o.address); err == nil {
			seen[a] = true
		}
	}
	c.mu.Unlock()

	for _, a := range peers {
		if !seen[a] {
			seen[a] = true
			out = append(out, a)
		}
	}
	return out, alone
}

func removeAll(from []netip.AddrPort, what map[netip.AddrPort]bool) []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range from {
		if !what[a] {
			out = append(out, a)
		}
	}
	return out
}

// ownAddresses are those at which this member would reach itself.
func ownAddresses(advertised, listen netip.AddrPort) map[netip.AddrPort]bool {
	own := map[netip.AddrPort]bool{advertised: true, listen: true}
	if !listen.Addr().IsUnspecified() {
		return own
	}
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		return own // then we may join ourselves, which does no harm
	}
	for _, a := range interfaces {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own[netip.AddrPortFrom(p.Addr().Unmap(), listen.Port())] = true
		}
	}
	return own
}

// joinAll tries addresses, some at a time. It keeps in down why each did not answer, and logs what is new there.
func (c *Cluster) joinAll(addresses []netip.AddrPort, down map[netip.AddrPort]string) {
	var wg sync.WaitGroup
	errs := make([]error, len(addresses))
	slots := make(chan struct{}, maxJoins)
	for i, a := range addresses {
		slots <- struct{}{}
		wg.Go(func() {
			_, errs[i] = c.list.Join([]string{a.String()})
			<-slots
		})
	}
	wg.Wait()
	tried := map[netip.AddrPort]bool{}
	for i, a := range addresses {
		tried[a] = true
		if errs[i] == nil {
			c.metrics.joins.WithLabelValues(outcomeOK).Inc()
			level.Info(c.logger).Log("msg", "peer joined", "address", a)
			delete(down, a)
			continue
		}
		c.metrics.joins.WithLabelValues(outcomeError).Inc()
		why := c.explainJoin(a, errs[i])
		if down[a] != why {
			level.Warn(c.logger).Log("msg", "peer does not answer, trying again and again", "address", a, "err", why)
		}
		down[a] = why
	}
	for a := range down {
		if !tried[a] {
			delete(down, a)
		}
	}
}

// explainJoin puts memberlist's error, of several lines, on one, and adds what it usually means.
func (c *Cluster) explainJoin(a netip.AddrPort, err error) string {
	why := strings.Join(strings.Fields(err.Error()), " ")
	switch {
	case keyText.MatchString(why):
		l := line{trouble: wrongKey, from: a.String()}
		c.metrics.troubles[wrongKey].Inc()
		c.problem(problemKey{wrongKey, hostOf(l.from)}, l.advice())
		return l.advice() + ": " + why
	case strings.HasSuffix(why, "EOF"), strings.Contains(why, "connection reset"):
		return "it closed the connection, as a member with another cluster.name does: " + why
	}
	return why
}
