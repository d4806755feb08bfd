package gossip

import "time"

// State is what a member is doing. The first four it says of itself; left and dead are seen by others.
type State string

// The states of a member.
const (
	Joining  State = "joining"  // not yet able to own targets, or not yet heard
	Active   State = "active"   // may own targets
	Unready  State = "unready"  // its Prometheus is not ready
	Draining State = "draining" // hands its targets over, then leaves
	Left     State = "left"     // said good-bye
	Dead     State = "dead"     // went without a word
)

// states in the order of their number on the wire, which is their index.
var states = []State{Joining, Active, Unready, Draining, Left, Dead}

// Facts are what a member says of itself. Nobody says them of another. A Facts that was handed over is never changed.
type Facts struct {
	Zone            string
	HTTPAddress     string // host:port of the status page
	Version         string
	State           State
	PrometheusReady bool
	Targets         int   // owned
	Series          int64 // scraped
	CapacitySeries  int64 // 0: not given
	ConfigHash      uint64
	View            uint64 // digest of the view it decides with
	AppliedView     uint64 // digest of the view its Prometheus has been seen to scrape
	Jobs            []JobFacts
}

// JobFacts are View and AppliedView of one job that a member serves.
type JobFacts struct {
	ID      uint64 // xxhash64 of the job name
	View    uint64
	Applied uint64
}

// Member is one member as this one sees it.
type Member struct {
	Name    string
	Address string // host:port of its gossip
	// Facts are the newest heard. State is Joining as long as none were, and Left or Dead once the member has gone.
	Facts
	// SeenAt is when the newest facts were heard or, of a member that has gone, when that was noticed.
	SeenAt time.Time
}

// Snapshot is the cluster as this member sees it. Nobody changes it again.
type Snapshot struct {
	Self string
	// Known is false until a peer has answered, or it is clear that there is none: Members may then be far from complete.
	Known bool
	// Members are sorted by name; this one is among them. Those that left or died stay for 5 minutes.
	Members []Member
	// Encrypted says whether gossip has a key.
	Encrypted bool
	// Problems are name conflicts, foreign labels, wrong keys and the like, seen lately, each a line for a person to read.
	Problems []string
	// Conflict is the one of Problems that says that another member has this one's name; empty: none has.
	Conflict string
}
