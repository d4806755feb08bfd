package upstream

import (
	"fmt"
	"iter"
	"net/http"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"golang.org/x/net/http/httpguts"

	"github.com/ringside-project/ringside/relay/wire"
)

// cargo is what an upstream is to get of a batch, for one tenant.
type cargo struct {
	tenant string     // by label; empty: none, or the fixed one
	rows   []wire.Row // nil: every valid series
}

// sieve picks the rows for one upstream out of a batch.
type sieve struct {
	*delivery
	scratch labels.ScratchBuilder
	builder *labels.Builder
	tenants map[string]int // index in cargo
	cargo   []cargo
}

// sift says what the upstream is to get, and books what it is not.
func (d *delivery) sift() []cargo {
	for _, invalid := range d.batch.Invalid() {
		d.reject(d.batch.Counts(invalid.Series), fmt.Sprintf("series %d: %s", invalid.Series, invalid.Reason))
	}
	stale := d.stale()
	if d.config.Tenant.Label == "" && len(d.config.WriteRelabelConfigs) == 0 && len(stale) == 0 {
		if d.batch.Len() > 0 && len(d.batch.Invalid()) == d.batch.Len() {
			return nil
		}
		return []cargo{{}}
	}
	s := sieve{
		delivery: d, scratch: labels.NewScratchBuilder(0), builder: labels.NewBuilder(labels.EmptyLabels()),
		tenants: map[string]int{},
	}
	invalid := d.batch.Invalid()
	for i := range d.batch.Len() {
		row := wire.Row{Series: int32(i)}
		if len(invalid) > 0 && invalid[0].Series == i {
			invalid = invalid[1:]
			continue
		}
		if len(stale) > 0 && stale[0] == i {
			stale = stale[1:]
			if !s.unstale(&row) {
				continue
			}
		}
		if s.relabel(&row) {
			s.add(row)
		}
	}
	if d.batch.Len() == 0 {
		s.cargo = []cargo{{}} // it has metadata
	}
	return s.cargo
}

// stale lists the series whose stale markers may have to go.
func (d *delivery) stale() []int {
	if d.config.ReplicaLabel != dropReplicaLabel || d.options.HandedOver == nil {
		return nil
	}
	return d.batch.Stale()
}

// unstale takes the stale markers out of a series that another member goes on
// with, where they would cut a gap into its samples. It returns false if
// nothing is left of it.
func (s *sieve) unstale(row *wire.Row) bool {
	if !s.options.HandedOver(s.batch.Labels(int(row.Series), s.asScraped, &s.scratch)) {
		return true
	}
	all := s.batch.Counts(int(row.Series))
	row.NoStale = true
	left := wire.Counts{}
	if samplesIn(all) > 1 {
		left = s.without(*row)
	}
	if s.left == nil {
		s.left = map[int]wire.Counts{}
	}
	s.left[int(row.Series)] = left
	s.unsent[suppressed-settledKinds] += samplesIn(minus(all, left))
	return samplesIn(left) > 0
}

// without counts what a series holds besides stale markers.
func (s *sieve) without(row wire.Row) wire.Counts {
	var alone wire.Batch
	text := s.batch.Render(nil, s.batch.Message(), nil, []wire.Row{row})
	if err := alone.Parse(s.batch.Message(), text, s.options.Names); err != nil {
		return s.batch.Counts(int(row.Series)) // never: it was rendered just now
	}
	return alone.Totals()
}

// relabel applies write_relabel_configs. It returns false if they drop the series.
func (s *sieve) relabel(row *wire.Row) bool {
	if len(s.config.WriteRelabelConfigs) == 0 {
		return true
	}
	before := s.batch.Labels(int(row.Series), s.edit, &s.scratch)
	s.builder.Reset(before)
	keep := relabel.ProcessBuilder(s.builder, s.config.WriteRelabelConfigs...)
	after := labels.EmptyLabels()
	if keep {
		after = s.builder.Labels()
	}
	if after.IsEmpty() {
		s.unsent[filtered-settledKinds] += samplesIn(s.count(int(row.Series)))
		return false
	}
	if !labels.Equal(before, after) {
		row.Replaced, row.Labels = true, after
	}
	return true
}

// add puts the row with those of its tenant.
func (s *sieve) add(row wire.Row) {
	tenant, ok := s.tenant(row)
	if !ok {
		s.reject(s.count(int(row.Series)), fmt.Sprintf("series %d: the value of label %q names its tenant, and cannot be put into header %s", row.Series, s.config.Tenant.Label, s.config.Tenant.Header))
		return
	}
	i, known := s.tenants[string(tenant)]
	if !known {
		i = len(s.cargo)
		s.tenants[string(tenant)] = i
		s.cargo = append(s.cargo, cargo{tenant: string(tenant)})
	}
	s.cargo[i].rows = append(s.cargo[i].rows, row)
}

// tenant returns whose series it is by its label, and whether a header can say
// so. Relabelling sees no tenant label: it is read from the series as it came.
func (s *sieve) tenant(row wire.Row) ([]byte, bool) {
	if s.config.Tenant.Label == "" {
		return nil, true
	}
	tenant, _ := s.batch.Value(int(row.Series), s.config.Tenant.Label)
	if len(tenant) == 0 {
		tenant = s.defaultTenant
	}
	return tenant, httpguts.ValidHeaderFieldValue(string(tenant))
}

// reject books what will not be sent at all.
func (d *delivery) reject(c wire.Counts, why string) {
	d.result.book(rejected, c, answer{status: http.StatusBadRequest, text: why})
}

// count counts what is sent of a series.
func (d *delivery) count(series int) wire.Counts {
	if left, some := d.left[series]; some {
		return left
	}
	if series >= d.batch.Len() {
		return wire.Counts{} // see series
	}
	return d.batch.Counts(series)
}

// sum counts what rows send.
func (d *delivery) sum(rows []wire.Row) wire.Counts {
	var c wire.Counts
	if rows == nil {
		c = d.batch.Totals()
		for _, invalid := range d.batch.Invalid() {
			c = minus(c, d.batch.Counts(invalid.Series))
		}
		return c
	}
	for _, row := range rows {
		c = c.Add(d.count(int(row.Series)))
	}
	return c
}

// series goes over the indexes of the series that rows stand for. A batch
// without series, whose body is all metadata, counts as one.
func (d *delivery) series(rows []wire.Row) iter.Seq[int] {
	return func(yield func(int) bool) {
		for _, row := range rows {
			if !yield(int(row.Series)) {
				return
			}
		}
		if rows != nil || (d.batch.Len() == 0 && !yield(0)) {
			return
		}
		invalid := d.batch.Invalid()
		for i := range d.batch.Len() {
			if len(invalid) > 0 && invalid[0].Series == i {
				invalid = invalid[1:]
			} else if !yield(i) {
				return
			}
		}
	}
}

// listed makes a list of rows that stand for every valid series.
func (d *delivery) listed(rows []wire.Row) []wire.Row {
	if rows != nil {
		return rows
	}
	rows = make([]wire.Row, 0, d.batch.Len())
	if d.batch.Len() > 0 {
		for i := range d.series(nil) {
			rows = append(rows, wire.Row{Series: int32(i)})
		}
	}
	return rows
}

// describe shows the first of the series that rows stand for.
func (d *delivery) describe(rows []wire.Row) string {
	if len(rows) > 0 && rows[0].Replaced {
		return truncate(rows[0].Labels.String(), maxText)
	}
	for series := range d.series(rows) {
		if series < d.batch.Len() {
			scratch := labels.NewScratchBuilder(0)
			return truncate(d.batch.Labels(series, d.edit, &scratch).String(), maxText)
		}
	}
	return ""
}
