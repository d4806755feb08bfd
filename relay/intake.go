package relay

import (
	"net/http"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

const logInterval = 10 * time.Second // between two lines about rejected requests

// Intake is what the status API tells of the requests to one path.
type Intake struct {
	Requests  int64  `json:"requests"` // rejected ones included
	Rejected  int64  `json:"rejected"` // before any upstream has seen them
	LastError string `json:"last_error,omitempty"`
}

// intake keeps the books of one path, and says why a request was rejected:
// to its sender, in the metrics, and now and then in the log.
type intake struct {
	path    string
	metrics *intakeMetrics
	logger  log.Logger

	mu         sync.Mutex
	status     Intake
	lastLogged time.Time
	unlogged   int // rejections since lastLogged
}

// count counts a request that was not rejected.
func (i *intake) count(outcome string) {
	i.metrics.requests.WithLabelValues(outcome).Inc()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status.Requests++
}

// reject answers and counts, and logs unless a rejection was logged just now.
func (i *intake) reject(w http.ResponseWriter, req *http.Request, why *rejection) {
	i.metrics.requests.WithLabelValues(outcomeRejected).Inc()
	i.metrics.rejected.WithLabelValues(why.reason).Inc()
	if unlogged, ok := i.note(why); ok {
		level.Warn(i.logger).Log("msg", "request rejected", "path", i.path, "reason", why.reason, "from", req.RemoteAddr, "err", why.text, "unlogged", unlogged)
	}
	switch why.status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, why.text, why.status)
}

// note tells whether it is time for a log line again, and how many rejections
// have had none.
func (i *intake) note(why *rejection) (unlogged int, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status.Requests++
	i.status.Rejected++
	i.status.LastError = why.text
	now := time.Now()
	if now.Sub(i.lastLogged) < logInterval {
		i.unlogged++
		return 0, false
	}
	unlogged = i.unlogged
	i.lastLogged, i.unlogged = now, 0
	return unlogged, true
}

func (i *intake) state() Intake {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.status
}
