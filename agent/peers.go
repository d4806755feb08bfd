package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/ringside-project/ringside/agent/page"
	"github.com/ringside-project/ringside/gossip"
)

const (
	peerTimeout  = time.Second     // for one answer
	peersAtOnce  = 16              // asked
	peersRest    = 2 * time.Second // between two rounds
	peersForget  = 5 * time.Minute // after which nobody looks any more
	tlsRest      = time.Minute     // before a member that speaks TLS is asked again: it logs that it was
	maxPeerBytes = 1 << 20         // of an answer
	maxPeerNames = 1000            // members in it
	clusterPath  = "/api/v1/status/cluster"
)

// peers asks the other members how they see the cluster, while somebody looks
// at the page and at no other time. Nobody waits for them.
type peers struct {
	*state
	client *http.Client
	tls    func() bool // this member serves HTTPS, and so do the others
	looked chan struct{}

	mu   sync.Mutex
	said map[string]page.Answer // by member
}

func newPeers(s *state, tls func() bool) *peers {
	return &peers{
		state: s, tls: tls, looked: make(chan struct{}, 1), said: map[string]page.Answer{},
		client: &http.Client{
			Timeout: peerTimeout,
			Transport: &http.Transport{ // no proxy: members reach each other directly
				MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// answers are the newest, and has newer ones asked for. The map is the caller's.
func (p *peers) answers() map[string]page.Answer {
	select {
	case p.looked <- struct{}{}:
	default:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.said)
}

// run asks whenever somebody has looked, until ctx ends.
func (p *peers) run(ctx context.Context) error {
	defer p.client.CloseIdleConnections()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(peersForget):
			p.keep(nil)
			continue
		case <-p.looked:
		}
		p.ask(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(peersRest):
		}
	}
}

// keep forgets all answers but those of members.
func (p *peers) keep(members []gossip.Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.said, func(name string, _ page.Answer) bool {
		return !slices.ContainsFunc(members, func(m gossip.Member) bool { return m.Name == name })
	})
}

// ask asks all members but those that said good-bye. One that is taken for dead
// and answers is what a split brain looks like.
func (p *peers) ask(ctx context.Context) {
	members, self := p.members(), p.snapshot().Self
	p.keep(members)
	var own netip.AddrPort // invalid as long as this member's address is not known
	if i := slices.IndexFunc(members, func(m gossip.Member) bool { return m.Name == self }); i >= 0 {
		own, _ = netip.ParseAddrPort(members[i].Address)
	}
	tls := p.tls()
	slots := make(chan struct{}, peersAtOnce)
	var wg sync.WaitGroup
	for _, m := range members {
		if m.Name == self || m.State == gossip.Left || p.resting(m.Name) {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			a := page.Answer{Problem: "not asked: the members speak TLS", TLS: true}
			if !tls {
				a = p.askOne(ctx, m, own.Addr())
			}
			if ctx.Err() != nil {
				return
			}
			a.At = time.Now()
			p.mu.Lock()
			defer p.mu.Unlock()
			p.said[m.Name] = a
		})
	}
	wg.Wait()
}

func (p *peers) resting(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.said[name]
	return a.TLS && time.Since(a.At) < tlsRest
}

// askOne asks m, at the one path and at no host but its own: members must not
// be able to make others call whom they like.
func (p *peers) askOne(ctx context.Context, m gossip.Member, own netip.Addr) page.Answer {
	to, problem := askable(m, own)
	if problem != "" {
		return page.Answer{Problem: problem}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+to.String()+clusterPath, nil)
	if err != nil {
		return page.Answer{Problem: "not asked: " + err.Error()}
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return page.Answer{Problem: unanswered(err)}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPeerBytes+1))
	switch {
	case err != nil:
		return page.Answer{Problem: unanswered(err)}
	case resp.StatusCode == http.StatusUnauthorized:
		return page.Answer{Problem: "wants a password"}
	case resp.StatusCode == http.StatusBadRequest && string(body) == "Client sent an HTTP request to an HTTPS server.\n":
		return page.Answer{Problem: "not asked: it speaks TLS", TLS: true}
	case resp.StatusCode != http.StatusOK:
		return page.Answer{Problem: fmt.Sprintf("answers %d", resp.StatusCode)}
	case len(body) > maxPeerBytes:
		return page.Answer{Problem: "its answer is too large"}
	}
	return p.read(m.Name, body)
}

// askable gives the address of m's page if it is m's: where its gossip is, or
// on loopback where that means the same machine.
func askable(m gossip.Member, own netip.Addr) (to netip.AddrPort, problem string) {
	to, err := netip.ParseAddrPort(m.HTTPAddress)
	if err != nil {
		return to, "not asked: it has not said where its page is"
	}
	gossips, err := netip.ParseAddrPort(m.Address)
	here, there := to.Addr().Unmap(), gossips.Addr().Unmap()
	own = own.Unmap()
	sameMachine := there == own || there.IsLoopback() && own.IsLoopback()
	switch {
	case err != nil:
		return to, "not asked: its address is not known"
	case here.IsLoopback() && sameMachine, !here.IsLoopback() && here == there:
		return to, ""
	case here.IsLoopback():
		return to, "not asked: its page is on loopback only"
	}
	return to, "not asked: its page is said to be on another host"
}

// unanswered says why there is no answer, in words for a cell of a table.
func unanswered(err error) string {
	var timeout net.Error
	var dial *net.OpError
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("slow: no answer within %s", peerTimeout)
	case errors.As(err, &dial) && dial.Op == "dial":
		return "no connection"
	}
	return "no proper answer"
}

// read takes of an answer what the page shows. Nothing in it is trusted.
func (p *peers) read(name string, body []byte) page.Answer {
	var answer struct {
		Data struct {
			Cluster, Self, View string
			Members             []struct {
				Name  string
				State gossip.State
			}
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return page.Answer{Problem: "no proper answer"}
	}
	d := answer.Data
	if d.Cluster != p.cluster || d.Self != name || len(d.View) > 16 || len(d.Members) > maxPeerNames {
		return page.Answer{Problem: "another one answers there"}
	}
	a := page.Answer{View: d.View, States: make(map[string]gossip.State, len(d.Members))}
	for _, m := range d.Members {
		switch m.State {
		case gossip.Joining, gossip.Active, gossip.Unready, gossip.Draining, gossip.Left, gossip.Dead:
			a.States[m.Name] = m.State
		}
	}
	return a
}
