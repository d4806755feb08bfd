package gossip

import (
	"context"
	"net/netip"
	"time"

	"github.com/go-kit/log/level"
	"github.com/hashicorp/memberlist"
)

// redeliver is the pause before facts that a member did not take are sent to it again.
const redeliver = time.Second

// delivery is the end of one attempt to send facts to a member.
type delivery struct {
	to      origin
	version uint64
	err     error
}

// deliver sends every living member the newest own facts over a stream of its own, until ctx ends. A member that is slow holds up no other,
// and misses versions in between.
//
// Gossip proper would need many rounds for that: when membership changes all members have news at once, and a packet holds that of one or two.
func (c *Cluster) deliver(ctx context.Context) {
	done := make(chan delivery)
	busy := map[origin]bool{}
	has := map[origin]uint64{} // the version of the facts that a member took
	for ctx.Err() == nil {
		raw, version, to := c.outbox()
		for o := range has {
			if !to[o] {
				delete(has, o)
			}
		}
		for o := range to {
			if !busy[o] && has[o] != version {
				busy[o] = true
				go func() { done <- delivery{o, version, c.sendOrPause(ctx, o, raw)} }()
			}
		}
		select {
		case <-ctx.Done():
		case <-c.deliverable:
		case d := <-done:
			delete(busy, d.to)
			if d.err == nil {
				has[d.to] = d.version
			}
		}
	}
	for range busy {
		<-done
	}
}

// sendOrPause is send, with a pause after an error, so that its caller may try again at once.
func (c *Cluster) sendOrPause(ctx context.Context, o origin, raw []byte) error {
	err := c.send(o, raw)
	if err != nil && ctx.Err() == nil {
		level.Debug(c.logger).Log("msg", "facts not delivered", "member", o.name, "address", o.address, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(redeliver):
		}
	}
	return err
}

// outbox is the newest message, its version, which is never 0, and who should have it.
func (c *Cluster) outbox() (raw []byte, version uint64, to map[origin]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	to = map[origin]bool{}
	for _, o := range c.book.alive(c.cfg.Node) {
		to[o] = true
	}
	return c.raw, c.own.Seq, to
}

// send brings raw to o. It blocks for streamTimeout at most.
func (c *Cluster) send(o origin, raw []byte) error {
	address, err := netip.ParseAddrPort(o.address)
	if err != nil {
		return err
	}
	node := &memberlist.Node{Name: o.name, Addr: address.Addr().AsSlice(), Port: address.Port()}
	if err := c.list.SendReliable(node, raw); err != nil {
		c.metrics.factsSent.WithLabelValues(outcomeError).Inc()
		return err
	}
	c.metrics.factsSent.WithLabelValues(outcomeOK).Inc()
	return nil
}

// sendAll brings the newest message to all living members at once, and reports whether all took it before timeout.
func (c *Cluster) sendAll(timeout time.Duration) bool {
	raw, _, to := c.outbox()
	taken := make(chan error, len(to))
	for o := range to {
		go func() { taken <- c.send(o, raw) }()
	}
	over := time.After(timeout)
	all := true
	for range to {
		select {
		case err := <-taken:
			all = all && err == nil
		case <-over:
			return false
		}
	}
	return all
}
