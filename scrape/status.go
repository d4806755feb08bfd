package scrape

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// State is what a member is, seen from the hand-over of targets.
type State string

// The first four a member says of itself, the others are what its peers see.
const (
	Joining  State = "joining"  // not yet an owner: discovery or Prometheus is not there yet
	Active   State = "active"   // may own targets
	Unready  State = "unready"  // its Prometheus does not answer; others adopt its targets
	Draining State = "draining" // hands all its targets over
	Left     State = "left"     // said good-bye
	Dead     State = "dead"     // no longer heard of
)

// Alive tells whether a member in state s still takes part in the gossip.
func (s State) Alive() bool { return s != Left && s != Dead }

// Cluster is what the gossip knows of the members, at one moment.
type Cluster struct {
	Known   bool     // false as long as the membership has not been found out
	Members []Member // in any order; this member's own entry is ignored
}

// Member is what a peer says of itself.
type Member struct {
	Name, Zone     string
	State          State
	CapacitySeries int64
	Jobs           map[uint64]JobView // by JobID: the jobs that it serves
}

// JobView says how far a member is with one job. Digests are of the job's view:
// who may own its targets, with which options.
type JobView struct {
	View    uint64 // that the member has computed its targets from
	Applied uint64 // equal to View once its Prometheus has been seen to scrape them all, else 0
}

// Facts is what this member has to say of itself to its peers.
type Facts struct {
	State           State
	PrometheusReady bool
	Targets         int   // in the files of its Prometheus
	Series          int64 // that its last scrapes brought, in all
	CapacitySeries  int64
	ConfigHash      uint64             // of the source prometheus.yml and the sharding options
	View            uint64             // digest over the views of all jobs
	AppliedView     uint64             // equal to View once all jobs are applied, else 0
	Jobs            map[uint64]JobView // by JobID
}

// Sample is one sample that Prometheus remote-wrote to its own sidecar.
type Sample struct {
	Labels    labels.Labels // with __name__
	Value     float64
	Timestamp int64 // Unix time, milliseconds
}

// Status is the engine's state at one moment. It is never changed after it
// has been handed out.
type Status struct {
	Facts
	NotReady []string // what is missing for this member to be ready, for a person; empty: ready
	Frozen   bool     // fewer than min_members are alive: nothing is adopted
	Source   SourceStatus
	Jobs     []JobStatus // in the source's order
	Moves    []Move      // the latest, newest last
	Moved    []MoveCount // how many there were in the last hours, oldest first

	view *snapshot
}

// SourceStatus tells of the source prometheus.yml and what became of it.
type SourceStatus struct {
	Path          string    `json:"path"`
	GeneratedPath string    `json:"generated_path"`
	LastReloadOK  bool      `json:"last_reload_successful"`
	LastError     string    `json:"last_error,omitempty"`
	LastReload    time.Time `json:"last_reload"` // when a good source was last taken over

	PrometheusLoaded bool     `json:"prometheus_loaded"` // Prometheus runs with what was generated last
	PrometheusError  string   `json:"prometheus_error,omitempty"`
	Warnings         []string `json:"warnings"`
}

// JobStatus counts the targets of one job.
type JobStatus struct {
	Job        string `json:"job"`
	Synced     bool   `json:"synced"`
	Targets    int    `json:"targets"`    // discovered
	Local      int    `json:"local"`      // in this member's file
	Adopting   int    `json:"adopting"`   // of Local: not yet seen to be scraped
	Releasing  int    `json:"releasing"`  // of Local: waiting for their new owners
	Unowned    int    `json:"unowned"`    // without any member to scrape them
	HandOvers  int    `json:"hand_overs"` // pending, of all members: whose owner, after a change of view, is not yet known to scrape them
	Everywhere bool   `json:"everywhere"` // every member scrapes all of it
	Dropped    int    `json:"dropped"`    // by relabelling
	Invalid    int    `json:"invalid"`    // refused as Prometheus refuses them: no address, say
}

// Move is a change of a target's owners, as this member saw it.
type Move struct {
	Time      time.Time `json:"time"`
	Job       string    `json:"job"`
	ScrapeURL string    `json:"scrape_url"`
	From      string    `json:"from"` // empty: nobody
	To        string    `json:"to"`   // empty: nobody
	Reason    string    `json:"reason"`
}

// The phases of a target.
const (
	PhaseActive    = "active"    // scraped by its owners
	PhaseAdopting  = "adopting"  // given to an owner that has not yet been seen to scrape it
	PhaseReleasing = "releasing" // scraped by this member until its owners do
	PhaseUnowned   = "unowned"   // nobody may scrape it
)

// FirstOwner is what moves from nobody are counted as, whatever their reason: no owner has changed.
const FirstOwner = "first"

// MoveCount is how many moves had one reason in the 15 s that begin at Time.
type MoveCount struct {
	Time   time.Time
	Reason string
	Moves  int
}

// Target is a target as the status API shows it.
type Target struct {
	Job       string        `json:"job"`
	ScrapeURL string        `json:"scrape_url"`
	Labels    labels.Labels `json:"labels"` // the final public ones
	Key       string        `json:"key"`    // what is hashed to find its owners
	Owners    []string      `json:"owners"` // best first
	Local     bool          `json:"local"`  // in this member's file
	Phase     string        `json:"phase"`

	Everywhere bool `json:"everywhere"` // every member scrapes it
}

// Filter selects targets; empty fields select all.
type Filter struct {
	Job   string // exact
	Owner string // exact
	Query string // in the job, any label value, the URL, the key or an owner's name, or label=value; upper and lower case are the same
	Page  int    // from 1
	Limit int    // per page
}

// Explanation tells why a target is where it is.
type Explanation struct {
	Target
	KeyRule   string   `json:"key_rule"`  // what the key was made from
	Order     []string `json:"order"`     // all members that may own it, best first
	Next      []string `json:"next"`      // for each owner, who would take over if it failed; empty: nobody
	View      string   `json:"view"`      // digest of the job's view, hex
	Why       string   `json:"why"`       // for a person
	Pending   []string `json:"pending"`   // owners that are not yet known to scrape it
	Discovery string   `json:"discovery"` // where it was discovered
}

// DrainReport tells what became of this member's targets.
type DrainReport struct {
	Targets        int            `json:"targets"`                   // that were to be handed over
	Handed         map[string]int `json:"handed"`                    // by member: those that it was seen to scrape
	Unconfirmed    []string       `json:"unconfirmed"`               // scrape URLs that nobody was seen to scrape
	Alone          bool           `json:"alone,omitempty"`           // nobody is there to take them
	PrometheusGone bool           `json:"prometheus_gone,omitempty"` // it stopped before all was handed over
}
