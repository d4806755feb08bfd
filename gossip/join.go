package gossip

import (
	"context"
	"maps"
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

// absent is an address where no living member is.
type absent struct {
	netip.AddrPort
	left bool // one said good-bye there: that nobody answers is as it should be
}

// missing are the addresses of peers, and of members that died, where no living member is. alone says that all peers are this member.
func (c *Cluster) missing(ctx context.Context) (out []absent, alone bool) {
	peers, all := c.resolvePeers(ctx)
	own := ownAddresses(c.address, c.listen)
	peers = removeAll(peers, own)
	alone = all && len(peers) == 0

	c.mu.Lock()
	dead, left := c.book.gone()
	var living []string
	for _, o := range c.book.alive(c.cfg.Node) {
		living = append(living, o.address)
	}
	c.mu.Unlock()

	peers = append(peers, parsed(dead)...)
	seen, gone := setOf(parsed(living)), setOf(parsed(left))
	for _, a := range peers {
		if !seen[a] {
			seen[a] = true
			out = append(out, absent{a, gone[a]})
		}
	}
	return out, alone
}

// parsed leaves out what is no address.
func parsed(addresses []string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, address := range addresses {
		if a, err := netip.ParseAddrPort(address); err == nil {
			out = append(out, a)
		}
	}
	return out
}

func setOf(addresses []netip.AddrPort) map[netip.AddrPort]bool {
	set := map[netip.AddrPort]bool{}
	for _, a := range addresses {
		set[a] = true
	}
	return set
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

// joinAll tries addresses, some at a time. It keeps in down why each did not answer, and logs what is new there; of
// those that have left it does not expect an answer.
func (c *Cluster) joinAll(addresses []absent, down map[netip.AddrPort]string) {
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
	failed := map[netip.AddrPort]bool{}
	for i, a := range addresses {
		if errs[i] == nil {
			c.metrics.joins.WithLabelValues(outcomeOK).Inc()
			level.Info(c.logger).Log("msg", "peer joined", "address", a)
			continue
		}
		if a.left {
			continue
		}
		failed[a.AddrPort] = true
		c.metrics.joins.WithLabelValues(outcomeError).Inc()
		why := c.explainJoin(a.AddrPort, errs[i])
		if down[a.AddrPort] != why {
			level.Warn(c.logger).Log("msg", "peer does not answer, trying again and again", "address", a, "err", why)
		}
		down[a.AddrPort] = why
	}
	maps.DeleteFunc(down, func(a netip.AddrPort, _ string) bool { return !failed[a] })
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
