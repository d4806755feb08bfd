package gossip

import (
	"time"

	"github.com/hashicorp/memberlist"
)

// The figures that trade how fast a crash is noticed against how easily a living member is taken for dead. What they give is measured by
// TestDetection: memberlist's own, meant for a LAN, need 5–9 s.
const (
	// Each member probes one other every probeInterval, in random order: the first probe of a dead one follows its death by one
	// interval on average, whatever the size of the cluster, and by 7 in one case of a thousand.
	probeInterval = 200 * time.Millisecond
	// probeTimeout leaves the other half of the interval to indirect and TCP probes.
	probeTimeout = 100 * time.Millisecond
	// suspicionMult × probeInterval × max(1, log10 N) is how long a suspect has to contradict: 1.4 s, and 1.8 s of 20 members.
	// With 8, one crash in some hundred of 20 members took 3.9 s.
	suspicionMult = 7
	// suspicionMaxMult stretches that for a suspect that nobody else suspects: the accuser may be the sick one.
	suspicionMaxMult = 2
	// gossipInterval: news reaches 20 members in 3–5 of these.
	gossipInterval = 100 * time.Millisecond
	// retransmitMult × ceil(log10(N+1)) is how often each member passes on a piece of news. With memberlist's 4 an accusation or its
	// refutation is lost now and then where 30 % of the packets are, which kills. With 15 that is rare even if most streams fail too; what
	// remains is broadcasts that memberlist's queue drops by itself (0.7.0 reuses the IDs of queued ones), which no figure here mends.
	retransmitMult = 15
	// pushPullInterval is how soon facts that got lost are repaired. memberlist doubles it above 32 members.
	pushPullInterval = 5 * time.Second
	// streamTimeout bounds dialling, and each message on, a TCP stream.
	streamTimeout = 5 * time.Second
	// deadNodeReclaim is how long the name of a dead member is refused to another address. A pod that was replaced comes back
	// under its name with another one, so hardly at all; memberlist takes 0 for never.
	deadNodeReclaim = time.Millisecond
)

func tuned() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.ProbeInterval = probeInterval
	c.ProbeTimeout = probeTimeout
	c.SuspicionMult = suspicionMult
	c.SuspicionMaxTimeoutMult = suspicionMaxMult
	c.GossipInterval = gossipInterval
	c.RetransmitMult = retransmitMult
	c.PushPullInterval = pushPullInterval
	c.TCPTimeout = streamTimeout
	c.DeadNodeReclaimTime = deadNodeReclaim
	// Packets are small and facts are mostly digests: compressing them costs memory and saves nothing.
	c.EnableCompression = false
	c.GossipVerifyIncoming = true
	c.GossipVerifyOutgoing = true
	return c
}
