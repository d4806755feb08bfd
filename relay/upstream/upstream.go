// Package upstream writes batches of samples to one receiver, which may be
// many endpoints: it picks and edits the series for it, places them on the
// endpoints as Thanos Receive would, sends them, finds the bad ones among
// those that are not taken, and says what came of it all. It never repeats
// what failed: Prometheus does.
//
// Where the series come from, what is waited for and what goes into a queue is
// left to package relay.
package upstream

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"go.opentelemetry.io/otel/trace"

	"github.com/ringside-project/ringside/relay/wire"
)

// Options are what an upstream is lent by whoever has the samples.
type Options struct {
	Labels       []labels.Label           // added to every series; ReplicaLabel is left out where the upstream drops it
	ReplicaLabel string                   // the one that tells members apart
	HandedOver   func(labels.Labels) bool // is this series, without ReplicaLabel, of a target that a live member was given? Calls may overlap. nil: never
	Names        *wire.Names              // with which batches are parsed; has Labels, ReplicaLabel and the tenant label
	Tracer       trace.TracerProvider     // nil: no traces
	Logger       log.Logger
	Metrics      *Metrics
}

// relearnAfter is for how long an upstream that did not take remote_write 2.0
// gets 1.0, before it is tried again: it may have been upgraded.
const relearnAfter = time.Hour

// Upstream is one receiver.
type Upstream struct {
	config    Config
	options   Options
	transport http.RoundTripper
	tracer    trace.Tracer // nil: no traces
	headersV1 http.Header
	headersV2 http.Header
	scrubber  scrubber
	bodies    bodies
	lines     lines
	counters  [outcomeKinds]prometheus.Counter

	edit          *wire.Edit // what becomes of the labels of every series
	asScraped     *wire.Edit // takes the replica label away; nil: it is kept
	defaultTenant []byte     // of series without the tenant label
	source        source
	placement     atomic.Pointer[placement]

	onlyV1   atomic.Int64               // Unix time in ns until which 2.0 is not sent
	sending  atomic.Int32               // version of the message last sent; 0: none yet
	newest   atomic.Int64               // Unix time in ms of the newest acknowledged sample; 0: none yet
	notTaken atomic.Int64               // Unix time in ms of the newest sample in the first batch not taken whole; 0: none yet
	books    [outcomeKinds]atomic.Int64 // samples by outcome

	mu        sync.Mutex
	lastError string
	failedAt  time.Time
}

// New returns an upstream with this configuration. It reads the hashring file,
// if there is one, and starts nothing.
func New(cfg Config, o Options) (*Upstream, error) {
	if err := cfg.Validate("upstream"); err != nil {
		return nil, err
	}
	transport, err := newTransport(&cfg)
	if err != nil {
		return nil, err
	}
	u := &Upstream{
		config: cfg, options: o, transport: transport,
		headersV1: headers(&cfg, wire.V1), headersV2: headers(&cfg, wire.V2),
		scrubber: scrubber{&cfg},
		lines:    lines{logger: o.Logger},
	}
	if o.Tracer != nil {
		u.tracer = o.Tracer.Tracer("github.com/ringside-project/ringside/relay")
	}
	u.plan()
	if err := u.discover(); err != nil {
		return nil, err
	}
	u.counters = o.Metrics.upstream(cfg.Name)
	o.Metrics.lag(cfg.Name, func() float64 { return u.lag().Seconds() })
	return u, nil
}

// plan lays down what becomes of the labels of every series.
func (u *Upstream) plan() {
	tenant := u.config.Tenant.Label
	var add []labels.Label
	var remove []string
	for _, l := range u.options.Labels {
		if l.Name == tenant {
			u.defaultTenant = []byte(l.Value)
		}
		if l.Name != u.options.ReplicaLabel || u.config.ReplicaLabel == keepReplicaLabel {
			add = append(add, l)
		}
	}
	if tenant != "" {
		remove = append(remove, tenant)
	}
	if u.config.ReplicaLabel == dropReplicaLabel {
		remove = append(remove, u.options.ReplicaLabel)
		u.asScraped = wire.NewEdit(u.options.Names, nil, []string{u.options.ReplicaLabel})
	}
	u.edit = wire.NewEdit(u.options.Names, add, remove)
}

// Name is what the upstream is called in ringside.yml.
func (u *Upstream) Name() string { return u.config.Name }

// Run keeps the endpoints up to date until ctx ends.
func (u *Upstream) Run(ctx context.Context) error {
	defer closeIdle(u.transport)
	u.keepDiscovering(ctx)
	return nil
}

// Dropped books samples that never were to be delivered, for there was no room
// to keep them.
func (u *Upstream) Dropped(c wire.Counts) { u.book(dropped, samplesIn(c)) }

func (u *Upstream) book(outcome, samples int) {
	if samples > 0 {
		u.books[outcome].Add(int64(samples))
		u.counters[outcome].Add(float64(samples))
	}
}

// sends returns the message to send for one that came as msg.
func (u *Upstream) sends(msg wire.Message) wire.Message {
	if u.config.ProtobufMessage != messageAuto {
		msg = wire.Message(u.config.ProtobufMessage)
	}
	if msg == wire.V2 && u.fallenBack() {
		return wire.V1
	}
	return msg
}

// versionOf is 1 for remote_write 1.0, 2 for 2.0.
func versionOf(msg wire.Message) int32 {
	if msg == wire.V2 {
		return 2
	}
	return 1
}

func (u *Upstream) fallenBack() bool { return time.Now().UnixNano() < u.onlyV1.Load() }

// fallBack makes the upstream get remote_write 1.0 from now on.
func (u *Upstream) fallBack(to *endpoint, a answer) {
	u.onlyV1.Store(time.Now().Add(relearnAfter).UnixNano())
	u.lines.info("fallback", "upstream does not take remote_write 2.0 and gets 1.0", "endpoint", to.shown, "answer", a.text, "for", relearnAfter)
}

// render makes the body of rows.
func (d *delivery) render(msg wire.Message, rows []wire.Row) *body {
	return d.bodies.render(d.batch, msg, d.edit, rows)
}

// acknowledge notes the time of a sample that is written; one from the future
// says nothing of how far behind the upstream is.
func (u *Upstream) acknowledge(newest int64) {
	newest = min(newest, time.Now().UnixMilli())
	for {
		old := u.newest.Load()
		if newest <= old || u.newest.CompareAndSwap(old, newest) {
			return
		}
	}
}

// lag is how old the newest acknowledged sample is. What a sidecar acknowledged
// before it was restarted it does not know: until it has something acknowledged,
// the first batch that was not taken stands in, since Prometheus sends in order
// and waits there. 0: nothing has been sent, or nothing went wrong yet.
func (u *Upstream) lag() time.Duration {
	from := u.newest.Load()
	if from == 0 {
		from = u.notTaken.Load()
	}
	if from == 0 {
		return 0
	}
	return max(time.Since(time.UnixMilli(from)), 0)
}

// fail notes why the batch was not taken whole.
func (d *delivery) fail(reason string) {
	d.notTaken.CompareAndSwap(0, min(d.batch.Newest(), time.Now().UnixMilli()))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lastError, d.failedAt = reason, time.Now()
}
