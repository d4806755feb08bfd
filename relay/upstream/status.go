package upstream

import (
	"time"

	"github.com/ringside-project/ringside/relay/wire"
)

// Status is what the status API tells of an upstream.
type Status struct {
	Name            string           `json:"name"`
	Required        bool             `json:"required"`
	ReplicaLabel    string           `json:"replica_label"`     // keep or drop
	ProtobufMessage string           `json:"protobuf_message"`  // as configured
	Sending         string           `json:"sending,omitempty"` // the message last sent
	Samples         map[string]int64 `json:"samples"`           // by outcome, since the start
	LagSeconds      float64          `json:"lag_seconds"`       // age of the newest acknowledged sample; before the first, of the first batch not taken; 0 if there is neither
	LastError       string           `json:"last_error,omitempty"`
	LastErrorTime   *time.Time       `json:"last_error_time,omitempty"`
	Hashring        *hashringStatus  `json:"hashring,omitempty"`
	Endpoints       []endpointStatus `json:"endpoints"`
}

type hashringStatus struct {
	File   string     `json:"file,omitempty"`
	Loaded *time.Time `json:"loaded,omitempty"` // since when the endpoints are in use
	Error  string     `json:"error,omitempty"`  // why what is there now is not
}

type endpointStatus struct {
	URL           string           `json:"url"` // without its query
	AZ            string           `json:"az,omitempty"`
	Breaker       string           `json:"breaker"` // closed, open or half-open
	InFlightBytes int64            `json:"in_flight_bytes"`
	Samples       map[string]int64 `json:"samples"` // by outcome, each copy counted
	LastError     string           `json:"last_error,omitempty"`
	LastErrorTime *time.Time       `json:"last_error_time,omitempty"`
}

// Status is how the upstream fares now.
func (u *Upstream) Status() Status {
	s := Status{
		Name: u.config.Name, Required: u.config.Required, ReplicaLabel: u.config.ReplicaLabel,
		ProtobufMessage: u.config.ProtobufMessage,
		Samples:         map[string]int64{},
		LagSeconds:      u.lag().Seconds(),
		Hashring:        u.source.status(u.config.Hashring.File),
		Endpoints:       []endpointStatus{},
	}
	switch u.sending.Load() {
	case versionOf(wire.V1):
		s.Sending = string(wire.V1)
	case versionOf(wire.V2):
		s.Sending = string(wire.V2)
	}
	for i, outcome := range outcomes {
		s.Samples[outcome] = u.books[i].Load()
	}
	u.mu.Lock()
	s.LastError, s.LastErrorTime = u.lastError, timeOrNil(u.failedAt)
	u.mu.Unlock()
	for _, m := range u.placement.Load().sorted() {
		s.Endpoints = append(s.Endpoints, m.status())
	}
	return s
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
