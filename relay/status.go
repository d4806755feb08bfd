package relay

import (
	"time"

	"github.com/ringside-project/ringside/relay/upstream"
)

// Status is what the status API tells of the relay.
type Status struct {
	ListenAddress string            `json:"listen_address"`
	Feedback      Feedback          `json:"feedback"`
	Write         Intake            `json:"write"`
	InFlightBytes int64             `json:"in_flight_bytes"` // of requests under way, decoded and rendered
	Upstreams     []upstream.Status `json:"upstreams"`
}

// Feedback is what the status API tells of the feedback stream.
type Feedback struct {
	Intake
	LastSamples *time.Time `json:"last_samples,omitempty"` // when samples last came
}

// Status is how the relay fares now.
func (r *Relay) Status() Status {
	s := Status{
		ListenAddress: r.Addr().String(),
		Feedback:      Feedback{Intake: r.feedback.state(), LastSamples: r.lastFeedback.Load()},
		Write:         r.write.state(),
		InFlightBytes: r.budget.used.Load(),
		Upstreams:     make([]upstream.Status, 0, len(r.upstreams)),
	}
	for _, u := range r.upstreams {
		s.Upstreams = append(s.Upstreams, u.Status())
	}
	return s
}
