// Package gossip tells who is alive and what each member says of itself. It speaks hashicorp/memberlist: it finds peers, joins them again and
// again, notices who leaves or dies, and carries every member's Facts to all others. What the facts mean, and what targets are, it leaves to
// its caller.
package gossip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/hashicorp/memberlist"
)

const (
	// snapshotDelay gathers what changes at once into one snapshot: a join brings members one by one.
	snapshotDelay = 20 * time.Millisecond
	// expireEvery is how often what has been listed for long enough is looked for.
	expireEvery = 5 * time.Second
	// goodbyeGossip is how long a good-bye that all were told is also gossiped, for those whom only others know.
	goodbyeGossip = time.Second
	// maxLines is how many log lines wait to be written.
	maxLines = 256
)

// Cluster is this member's part in the cluster.
type Cluster struct {
	cfg     Config
	logger  log.Logger
	metrics *metrics
	list    *memberlist.Memberlist
	ring    *memberlist.Keyring
	keyFile []byte         // as New read it
	listen  netip.AddrPort // as bound
	address netip.AddrPort // as advertised
	peers   peerBook

	problems    problems
	lines       chan line
	changed     signal // there may be a new snapshot
	deliverable signal // there are new own facts, or a new member
	updates     chan Snapshot
	leaving     chan struct{} // closed by Leave

	mu    sync.Mutex
	book  *book
	own   message
	raw   []byte // own, encoded
	known bool

	// ending is held while leaving or closing.
	ending sync.Mutex
	left   bool
	closed bool
}

// signal says that something has happened, once or more often.
type signal chan struct{}

func (s signal) set() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// Run joins the peers, hands facts on, and follows the key file until ctx ends. To the others that is a crash, unless Leave was called before.
// It returns when all that New and Run started has ended, and always nil.
func (c *Cluster) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for _, run := range []func(context.Context){c.rejoin, c.deliver, c.watchKeys, c.writeLog} {
		wg.Go(func() { run(ctx) })
	}
	c.report(ctx)
	cancel()
	c.close()
	wg.Wait()
	return nil
}

func (c *Cluster) close() {
	c.ending.Lock()
	defer c.ending.Unlock()
	c.closed = true
	if err := c.list.Shutdown(); err != nil {
		level.Warn(c.logger).Log("msg", "stop gossip", "err", err)
	}
}

// report brings every new snapshot to Updates.
func (c *Cluster) report(ctx context.Context) {
	expire := time.NewTicker(expireEvery)
	defer expire.Stop()
	var last Snapshot
	for {
		s := c.snapshot(time.Now())
		c.metrics.count(s.Members)
		if !reflect.DeepEqual(s, last) {
			c.logMembers(last.Members, s.Members)
			last = s
			select {
			case <-c.updates: // nobody has read the older one, nobody needs to
			default:
			}
			c.updates <- s
		}
		select {
		case <-ctx.Done():
			return
		case <-expire.C:
		case <-c.changed:
			time.Sleep(snapshotDelay)
		}
	}
}

func (c *Cluster) snapshot(now time.Time) Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.book.expire(now)
	return Snapshot{
		Self:      c.cfg.Node,
		Known:     c.known,
		Members:   c.book.members(),
		Encrypted: len(c.ring.GetKeys()) > 0,
		Problems:  c.problems.list(now),
		Conflict:  c.problems.text(problemKey{nameConflict, c.cfg.Node}),
	}
}

// Updates has the newest snapshot that was not read. It has one slot and is for one reader.
func (c *Cluster) Updates() <-chan Snapshot { return c.updates }

// Publish makes f what this member says of itself. It does not block. f must not be changed any more. An empty Zone means
// that of Config. Jobs beyond 8192 are not told.
func (c *Cluster) Publish(f Facts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.Zone == "" {
		f.Zone = c.cfg.Zone
	}
	if c.own.Facts.State == Left || reflect.DeepEqual(f, c.own.Facts) {
		return
	}
	c.own.Facts = f
	c.say()
}

// say makes own facts a new message. The caller holds mu.
func (c *Cluster) say() {
	c.own.Seq++
	c.raw = c.own.encode()
	c.book.hear(&c.own, c.raw, time.Now())
	c.metrics.factsBytes.Set(float64(len(c.raw)))
	c.changed.set()
	c.deliverable.set()
}

// Leave says good-bye, so that the others need not find out: to each directly, and by gossip. It returns when that is said, or after timeout
// with an error. This member does not come back, even if Run goes on.
func (c *Cluster) Leave(timeout time.Duration) error {
	c.ending.Lock()
	defer c.ending.Unlock()
	if c.closed {
		return errors.New("leave cluster: gossip has ended")
	}
	if c.left {
		return nil
	}
	c.left = true
	close(c.leaving)
	begin := time.Now()
	c.mu.Lock()
	c.own.Facts.State = Left
	c.say()
	c.mu.Unlock()
	heard := c.sendAll(timeout / 2)
	err := c.list.Leave(max(time.Millisecond, min(goodbyeGossip, timeout-time.Since(begin))))
	if err != nil && !heard {
		return fmt.Errorf("leave cluster: %w", err)
	}
	return nil
}

func (c *Cluster) isKnown() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known
}

func (c *Cluster) setKnown(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known {
		return
	}
	c.known = true
	c.metrics.known.Set(1)
	c.tell(line{level: "INFO", text: "membership is known: " + why})
	c.changed.set()
}
