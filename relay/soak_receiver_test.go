//go:build unix

package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/klauspost/compress/s2"
)

// fault is what a receiver does to a request, but for answering it at once.
type fault int

const (
	none           fault = iota
	slow                 // takes a while
	hang                 // takes longer than anybody waits
	resetRequest         // ends the connection before it has read the request
	resetAnswer          // writes, and ends the connection before it answers
	resetMidAnswer       // writes, and ends it within the status line
	cutAnswer            // writes, and ends it within the body of a 2xx
	tooMany              // 429, with Retry-After
	unavailable          // 503, with Retry-After
	broken               // 500, with more of a body than anybody reads
	redirect             // 307 to somewhere else
	outage               // resets all connections for a second and a half
	faultKinds           // how many there are
)

var faultNames = [faultKinds]string{
	"none", "slow", "hang", "reset in the request", "reset before the answer", "reset within the answer", "cut answer", "429", "503", "500", "redirect", "outage",
}

// soakReceiver is one endpoint of an upstream.
type soakReceiver struct {
	*soakUpstream
	books
	first  bool // of the upstream's endpoints
	server *http.Server
	url    string
	open   atomic.Int64 // connections

	rngMu sync.Mutex
	rng   *rand.Rand
	down  time.Time // until when there is an outage
	seen  [faultKinds]int
}

// connKey is where the context of a request has its connection.
type connKey struct{}

func (u *soakUpstream) newReceiver(seed uint64) *soakReceiver {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		u.soak.t.Fatal(err)
	}
	r := &soakReceiver{
		soakUpstream: u,
		books:        books{newest: map[int]entry{}},
		first:        len(u.receivers) == 0,
		url:          "http://" + ln.Addr().String() + "/api/v1/write",
		rng:          rand.New(rand.NewPCG(seed, uint64(len(u.receivers)))),
	}
	r.server = &http.Server{
		Handler:     r,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				r.open.Add(1)
			case http.StateClosed, http.StateHijacked:
				r.open.Add(-1)
			}
		},
	}
	go r.server.Serve(ln)
	return r
}

// pick draws what becomes of the next request.
func (r *soakReceiver) pick() (f fault, coin bool, pause time.Duration) {
	r.rngMu.Lock()
	defer r.rngMu.Unlock()
	pause = time.Duration(r.rng.IntN(100)) * time.Millisecond
	coin = r.rng.IntN(2) == 0
	select {
	case <-r.soak.healing:
		return none, coin, 0
	default:
	}
	switch {
	case time.Now().Before(r.down):
		f = resetRequest
	case r.stuck:
		f = hang
	case r.rng.Float64() < r.faulty:
		f = 1 + fault(r.rng.IntN(int(faultKinds)-1))
		if f == hang && r.rng.IntN(3) > 0 || f == outage && r.rng.IntN(10) > 0 {
			f = slow // those two hold up everything, and so are rarer
		}
	}
	if f == outage {
		r.down = time.Now().Add(1500 * time.Millisecond)
	}
	r.seen[f]++
	return f, coin, pause
}

func (r *soakReceiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	f, coin, pause := r.pick()
	if f == resetRequest || f == outage {
		io.CopyN(io.Discard, req.Body, 100)
		reset(w, "")
		return
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // cut off by the relay
	}
	r.wait(req.Context(), f, pause)
	if r.refuses(w, f, coin) {
		return
	}
	if r.old != 0 && isV2(req) { // speaks 1.0 only, and says so or does not
		w.WriteHeader(r.old)
		return
	}
	all, err := r.decode(req, body)
	if err != nil {
		r.soak.wrong("%s got: %v", r.name, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	a, live := r.commit(req, all, coin)
	if !live {
		return
	}
	r.answer(w, f, a)
}

func isV2(req *http.Request) bool {
	return strings.Contains(req.Header.Get("Content-Type"), "io.prometheus.write.v2.Request")
}

func (r *soakReceiver) wait(ctx context.Context, f fault, pause time.Duration) {
	switch f {
	case slow:
	case hang:
		pause = 500*time.Millisecond + 20*pause
		if r.stuck {
			pause = time.Hour
		}
	default:
		return
	}
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	case <-r.soak.healing:
	}
}

// refuses answers a request that is not even looked at.
func (r *soakReceiver) refuses(w http.ResponseWriter, f fault, coin bool) bool {
	switch f {
	case tooMany:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	case unavailable:
		if coin {
			w.Header().Set("Retry-After", "1")
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	case broken:
		w.WriteHeader(http.StatusInternalServerError)
		for range 64 {
			w.Write(make([]byte, 64<<10)) // until nobody listens any more
		}
	case redirect:
		w.Header().Set("Location", r.soak.trap.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	default:
		return false
	}
	return true
}

func (r *soakReceiver) decode(req *http.Request, body []byte) ([]received, error) {
	plain, err := s2.Decode(nil, body)
	if err != nil {
		return nil, err
	}
	if isV2(req) {
		return decodeV2(plain)
	}
	return decodeV1(plain)
}

// soakAnswer is how a receiver takes a request.
type soakAnswer struct {
	status              int
	samples, histograms int // written
}

// commit writes the samples that the receiver takes. It writes nothing when the
// relay has ended the connection, so that a request which the relay has given up
// never comes after the next one: the kernel knows of the end before the relay
// can have answered its sender.
func (r *soakReceiver) commit(req *http.Request, all []received, coin bool) (a soakAnswer, live bool) {
	good, status, whole := r.judge(all, coin)
	if status != http.StatusNoContent && (whole || !coin || !isV2(req)) {
		return soakAnswer{status: status, samples: -1}, true
	}
	r.books.mu.Lock()
	defer r.books.mu.Unlock()
	if !alive(req.Context().Value(connKey{}).(*net.TCPConn)) {
		return soakAnswer{}, false
	}
	a.status = status
	for _, s := range good {
		series, err := s.identify(r.keep)
		if err == nil {
			err = r.write(series.id, s.timestamps)
		}
		if err != nil {
			r.soak.wrong("%s got %v", r.name, err)
		}
		a.samples += len(s.values) - s.histograms
		a.histograms += s.histograms
	}
	return a, true
}

// judge returns the series that the receiver takes, and the status that says so
// or not. Which it takes depends on nothing but the series and how many there
// are. whole says that for some of them it takes nothing at all: what one endpoint
// refuses and others do not, it must not write the rest of, since the relay would
// take a part that is written without saying which for what all refuse.
func (r *soakReceiver) judge(all []received, coin bool) (good []received, status int, whole bool) {
	status = http.StatusNoContent
	if r.most > 0 && len(all) > r.most {
		return nil, http.StatusRequestEntityTooLarge, true
	}
	for _, s := range all {
		text := strings.Join(s.labels, " ") + " "
		once := strings.Contains(text, "poison "+poisonOnce+" ") && r.first && r.copies > 2
		switch {
		case strings.Contains(text, "poison "+poisonHuge+" "):
			return nil, http.StatusRequestEntityTooLarge, true
		case once, strings.Contains(text, "poison "+poisonBad+" "):
			status = http.StatusBadRequest
			if coin {
				status = http.StatusConflict
			}
			whole = whole || once
		default:
			good = append(good, s)
		}
	}
	return good, status, whole
}

// answer says how a request was taken, as far as the fault lets it.
func (r *soakReceiver) answer(w http.ResponseWriter, f fault, a soakAnswer) {
	if a.samples >= 0 {
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(a.samples))
		w.Header().Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.Itoa(a.histograms))
		w.Header().Set("X-Prometheus-Remote-Write-Exemplars-Written", "0")
	}
	switch f {
	case resetAnswer:
		reset(w, "")
	case resetMidAnswer:
		reset(w, "HTTP/1.1 2")
	case cutAnswer:
		if a.status == http.StatusNoContent {
			a.status = http.StatusOK
		}
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(a.status)
		io.WriteString(w, "this is not all")
	default:
		w.WriteHeader(a.status)
		if a.status != http.StatusNoContent {
			fmt.Fprintf(w, "refused: %d", a.status)
		}
	}
}

// reset ends the connection of a request with a TCP reset, after a few bytes.
func reset(w http.ResponseWriter, after string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // it has ended by itself
	}
	io.WriteString(conn, after)
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// alive tells whether the other side has not ended the connection.
func alive(conn *net.TCPConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	open := false
	err = raw.Control(func(fd uintptr) {
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		open = n > 0 || errors.Is(err, syscall.EAGAIN)
	})
	return err == nil && open
}
