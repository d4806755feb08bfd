package scrape

import (
	"math"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

// The two series of every target that Prometheus sends to its sidecar.
const (
	upMetric     = "up"
	seriesMetric = "scrape_samples_post_metric_relabeling"
)

// held names a held target.
type held struct {
	job   *job
	index int
}

// observe takes in what Prometheus was seen to scrape.
func (c *core) observe(samples []Sample) {
	if c.byPublic == nil {
		c.index()
	}
	for _, s := range samples {
		if value.IsStaleNaN(s.Value) {
			continue // the end of a scrape, not one
		}
		name := s.Labels.Get(model.MetricNameLabel)
		for _, h := range c.byPublic[publicHash(s.Labels, c.external)] {
			switch name {
			case upMetric:
				h.job.see(h.index, s.Timestamp)
			case seriesMetric:
				c.weigh(h, s.Value)
			}
		}
	}
}

func (c *core) weigh(h held, series float64) {
	weight := &h.job.holds[h.index].series
	c.series -= int64(*weight)
	*weight = int32(min(max(series, 0), math.MaxInt32))
	c.series += int64(*weight)
}

func (c *core) index() {
	c.byPublic = map[uint64][]held{}
	for _, j := range c.jobs {
		for i, h := range j.holds {
			if h.held {
				public := j.targets[i].public
				c.byPublic[public] = append(c.byPublic[public], held{j, i})
			}
		}
	}
}

// recount sums up the series of all held targets.
func (c *core) recount() {
	c.series = 0
	for _, j := range c.jobs {
		for _, h := range j.holds {
			c.series += int64(h.series)
		}
	}
}

// externalNames lists what Prometheus adds to every series it sends.
func externalNames(external labels.Labels) map[string]bool {
	names := make(map[string]bool, external.Len())
	external.Range(func(l labels.Label) { names[l.Name] = true })
	return names
}
