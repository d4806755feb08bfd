package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringside-project/ringside/agent/page"
	"github.com/ringside-project/ringside/gossip"
)

// asking is a member a among others, who all gossip at 127.0.0.1.
func asking(others ...gossip.Member) *peers {
	members := append([]gossip.Member{{Name: "a", Address: "127.0.0.1:7946", Facts: gossip.Facts{State: gossip.Active}}}, others...)
	s := &state{cluster: "prod", scrape: &engine{}, snapshot: func() *gossip.Snapshot { return &gossip.Snapshot{Self: "a", Members: members} }}
	return newPeers(s, func() bool { return false })
}

func at(name, http string) gossip.Member {
	return gossip.Member{Name: name, Address: "127.0.0.1:7947", Facts: gossip.Facts{State: gossip.Active, HTTPAddress: http}}
}

const goodAnswer = `{"status":"success","data":{"cluster":"prod","self":"b","view":"00ff","members":[{"name":"a","state":"dead"},{"name":"b","state":"active"},{"name":"c","state":"<b>"}]}}`

func TestPeersAnswer(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.URL.String() != "/api/v1/status/cluster" || r.Header.Get("Authorization") != "" {
				t.Errorf("asked %s %s", r.Method, r.URL)
			}
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	for _, tc := range []struct {
		name    string
		server  func(http.Handler) *httptest.Server
		handler http.HandlerFunc
		problem string
	}{
		{"good", httptest.NewServer, answer(200, goodAnswer), ""},
		{"password", httptest.NewServer, answer(401, "Unauthorized"), "wants a password"},
		{"error", httptest.NewServer, answer(500, "no"), "answers 500"},
		{"redirect", httptest.NewServer, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, "answers 302"},
		{"TLS", httptest.NewTLSServer, answer(200, goodAnswer), "not asked: it speaks TLS"},
		{"another", httptest.NewServer, answer(200, strings.Replace(goodAnswer, "prod", "test", 1)), "another one answers there"},
		{"another name", httptest.NewServer, answer(200, strings.Replace(goodAnswer, `"b"`, `"x"`, 1)), "another one answers there"},
		{"no JSON", httptest.NewServer, answer(200, "<html>"), "no proper answer"},
		{"far too much", httptest.NewServer, answer(200, strings.Repeat(" ", maxPeerBytes+1)), "its answer is too large"},
		{"cut off", httptest.NewServer, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "{")
		}, "no proper answer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := tc.server(tc.handler)
			server.Config.ErrorLog = nil
			defer server.Close()
			p := asking(at("b", server.Listener.Addr().String()))
			defer p.client.CloseIdleConnections()
			p.ask(t.Context())
			got := p.answers()["b"]
			if got.Problem != tc.problem || got.At.IsZero() || got.TLS != (tc.name == "TLS") {
				t.Errorf("%+v; want %q", got, tc.problem)
			}
			if tc.problem == "" && (got.View != "00ff" || len(got.States) != 2 || got.States["a"] != gossip.Dead) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestAskable(t *testing.T) {
	for _, tc := range []struct{ http, gossips, own, problem string }{
		{"10.0.0.7:9590", "10.0.0.7:7946", "10.0.0.1", ""},
		{"[::ffff:10.0.0.7]:9590", "10.0.0.7:7946", "10.0.0.1", ""},
		{"127.0.0.1:9590", "127.0.0.2:7946", "127.0.0.1", ""},
		{"127.0.0.1:9590", "10.0.0.1:7946", "10.0.0.1", ""},
		{"127.0.0.1:9590", "10.0.0.7:7946", "10.0.0.1", "not asked: its page is on loopback only"},
		{"[::1]:9590", "10.0.0.7:7946", "10.0.0.1", "not asked: its page is on loopback only"},
		{"127.0.0.1:9090", "127.0.0.1:7946", "10.0.0.1", "not asked: its page is on loopback only"},
		{"169.254.169.254:80", "10.0.0.7:7946", "10.0.0.1", "not asked: its page is said to be on another host"},
		{"metadata.internal:80", "10.0.0.7:7946", "10.0.0.1", "not asked: it has not said where its page is"},
		{"", "10.0.0.7:7946", "10.0.0.1", "not asked: it has not said where its page is"},
		{"10.0.0.7:9590", "", "10.0.0.1", "not asked: its address is not known"},
	} {
		m := gossip.Member{Address: tc.gossips, Facts: gossip.Facts{HTTPAddress: tc.http}}
		if _, problem := askable(m, netip.MustParseAddr(tc.own)); problem != tc.problem {
			t.Errorf("%s of %s: %q; want %q", tc.http, tc.gossips, problem, tc.problem)
		}
	}
}

// roundTrip is a transport without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestPeersAreAskedWhileSomebodyLooks: not before, not after, not too often, and
// one that hangs holds up neither the page nor the others.
func TestPeersAreAskedWhileSomebodyLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var others []gossip.Member
		for i := range 3 * peersAtOnce {
			others = append(others, at(fmt.Sprintf("m%d", i), fmt.Sprintf("127.0.0.1:%d", 10000+i)))
		}
		others = append(others, at("b", "127.0.0.1:9999"))
		p := asking(others...)
		var asked, running, most atomic.Int64
		p.client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			asked.Add(1)
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			if r.URL.Host == "127.0.0.1:9999" {
				return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(goodAnswer))}, nil
			}
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- p.run(ctx) }()
		time.Sleep(time.Hour)
		if n := asked.Load(); n != 0 {
			t.Fatalf("%d requests while nobody looks", n)
		}
		began := time.Now()
		if got := p.answers(); len(got) != 0 || time.Since(began) > 0 {
			t.Errorf("%v after %s", got, time.Since(began))
		}
		time.Sleep(5 * peerTimeout)
		got := p.answers()
		if got["b"].Problem != "" || got["m0"].Problem != "slow: no answer within 1s" || len(got) != len(others) {
			t.Errorf("%d answers, b: %+v, m0: %+v", len(got), got["b"], got["m0"])
		}
		if most.Load() > peersAtOnce {
			t.Errorf("%d asked at once", most.Load())
		}
		began = time.Now()
		before := asked.Load()
		for time.Since(began) < time.Minute { // an impatient reader
			p.answers()
			time.Sleep(10 * time.Millisecond)
		}
		if rounds := int(asked.Load()-before) / len(others); rounds < 5 || rounds > 30 {
			t.Errorf("%d rounds in a minute", rounds)
		}
		time.Sleep(2 * peersForget)
		p.mu.Lock()
		if len(p.said) != 0 {
			t.Errorf("%d answers are kept long after", len(p.said))
		}
		p.mu.Unlock()
		p.answers()
		time.Sleep(peerTimeout / 2)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestPeersNotAsked(t *testing.T) {
	gone := at("left", "127.0.0.1:1")
	gone.State = gossip.Left
	p := asking(at("b", "127.0.0.1:9999"), gone)
	asked := 0
	p.client.Transport = roundTrip(func(*http.Request) (*http.Response, error) {
		asked++
		return nil, errors.New("down")
	})
	p.tls = func() bool { return true }
	p.ask(t.Context())
	if got := p.answers(); asked != 0 || !got["b"].TLS || len(got) != 1 {
		t.Errorf("%d asked: %+v", asked, got)
	}
	p.tls = func() bool { return false }
	p.ask(t.Context())
	if asked != 0 {
		t.Error("one that speaks TLS is asked again at once")
	}
	p.said["b"] = page.Answer{}
	p.ask(t.Context())
	if got := p.answers()["b"]; asked != 1 || got.Problem != "no proper answer" {
		t.Errorf("%d asked: %+v", asked, got)
	}
}
