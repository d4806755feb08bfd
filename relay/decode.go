package relay

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ringside-project/ringside/relay/wire"
)

// The metrics that are read from the feedback stream.
const (
	metricUp     = "up"
	metricSeries = "scrape_samples_post_metric_relabeling"
)

// maxItems bounds what a small body can make the decoder hold: symbols, labels
// of a series, and samples, where an empty one takes 2 bytes on the wire.
const maxItems = 1 << 18

var errTooManyItems = fmt.Errorf("more than %d symbols, labels of one series, or samples", maxItems)

// decoder reads the two feedback metrics from a request. It walks the wire
// format rather than unmarshal the message, because the message in memory is up
// to a hundred times the size of a body made for that. What it does not read
// (exemplars, histograms, metadata, unknown fields) is skipped unchecked.
type decoder struct {
	symbols [][]byte    // of a 2.0 request
	name    []byte      // of a 2.0 label whose value comes next; else nil
	labels  [][2][]byte // name and value, of the series being read
	points  []Sample    // without labels, of the series being read
	builder labels.ScratchBuilder

	samples []Sample
	written wire.Counts // what the request held, wanted or not
}

// decode returns the feedback samples in body, in its order. It keeps no part of body.
func decode(msg wire.Message, body []byte) ([]Sample, wire.Counts, error) {
	var d decoder
	read := d.requestV1
	if msg == wire.V2 {
		read = d.requestV2
	}
	if err := read(body); err != nil {
		return nil, wire.Counts{}, fmt.Errorf("decode %s: %w", msg, err)
	}
	return d.samples, d.written, nil
}

// requestV1 reads a prometheus.WriteRequest: timeseries = 1.
func (d *decoder) requestV1(body []byte) error {
	return eachField(body, func(f field) error {
		if f.number != 1 {
			return nil
		}
		return d.series(f, d.fieldV1)
	})
}

// requestV2 reads an io.prometheus.write.v2.Request: symbols = 4, timeseries = 5,
// in any order.
func (d *decoder) requestV2(body []byte) error {
	err := eachField(body, func(f field) error {
		if f.number != 4 {
			return nil
		}
		if len(d.symbols) == maxItems {
			return errTooManyItems
		}
		d.symbols = append(d.symbols, f.bytes)
		return f.expect(protowire.BytesType)
	})
	if err != nil {
		return err
	}
	return eachField(body, func(f field) error {
		if f.number != 5 {
			return nil
		}
		return d.series(f, d.fieldV2)
	})
}

// series reads a TimeSeries of either version, whose fields are read by visit.
func (d *decoder) series(f field, visit func(field) error) error {
	if err := f.expect(protowire.BytesType); err != nil {
		return err
	}
	d.name, d.labels, d.points = nil, d.labels[:0], d.points[:0]
	if err := eachField(f.bytes, visit); err != nil {
		return err
	}
	if d.name != nil {
		return errors.New("a series has a label reference without a partner")
	}
	return d.keep()
}

// fieldV1 reads a field of prometheus.TimeSeries: labels = 1, samples = 2,
// exemplars = 3, histograms = 4.
func (d *decoder) fieldV1(f field) error {
	switch f.number {
	case 1:
		return d.label(f)
	case 2:
		return d.sample(f)
	case 3:
		d.written.Exemplars++
		return f.expect(protowire.BytesType)
	case 4:
		d.written.Histograms++
		return f.expect(protowire.BytesType)
	}
	return nil
}

// fieldV2 reads a field of io.prometheus.write.v2.TimeSeries: labels_refs = 1,
// samples = 2, histograms = 3, exemplars = 4.
func (d *decoder) fieldV2(f field) error {
	switch f.number {
	case 1:
		return d.labelRefs(f)
	case 2:
		return d.sample(f)
	case 3:
		d.written.Histograms++
		return f.expect(protowire.BytesType)
	case 4:
		d.written.Exemplars++
		return f.expect(protowire.BytesType)
	}
	return nil
}

// label reads a prometheus.Label: name = 1, value = 2.
func (d *decoder) label(f field) error {
	if err := f.expect(protowire.BytesType); err != nil {
		return err
	}
	var pair [2][]byte
	err := eachField(f.bytes, func(f field) error {
		if f.number > 2 {
			return nil
		}
		pair[f.number-1] = f.bytes
		return f.expect(protowire.BytesType)
	})
	if err != nil {
		return err
	}
	return d.addLabel(pair)
}

// labelRefs reads references to symbols, packed or single: name, value, name, ….
func (d *decoder) labelRefs(f field) error {
	if f.typ == protowire.VarintType {
		return d.labelRef(f.varint)
	}
	if err := f.expect(protowire.BytesType); err != nil {
		return err
	}
	for refs := f.bytes; len(refs) > 0; {
		ref, n := protowire.ConsumeVarint(refs)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := d.labelRef(ref); err != nil {
			return err
		}
		refs = refs[n:]
	}
	return nil
}

// labelRef takes the next reference of a series: a name, or the value of the last one.
func (d *decoder) labelRef(ref uint64) error {
	if ref >= uint64(len(d.symbols)) {
		return fmt.Errorf("label reference %d is outside of the %d symbols", ref, len(d.symbols))
	}
	if d.name == nil {
		d.name = d.symbols[ref]
		return nil
	}
	pair := [2][]byte{d.name, d.symbols[ref]}
	d.name = nil
	return d.addLabel(pair)
}

func (d *decoder) addLabel(pair [2][]byte) error {
	if len(d.labels) == maxItems {
		return errTooManyItems
	}
	d.labels = append(d.labels, pair)
	return nil
}

// sample reads a Sample, whose first fields are the same in both versions:
// value = 1, timestamp = 2.
func (d *decoder) sample(f field) error {
	if err := f.expect(protowire.BytesType); err != nil {
		return err
	}
	if len(d.points) == maxItems {
		return errTooManyItems
	}
	var s Sample
	err := eachField(f.bytes, func(f field) error {
		switch f.number {
		case 1:
			s.Value = math.Float64frombits(f.fixed64)
			return f.expect(protowire.Fixed64Type)
		case 2:
			s.Timestamp = int64(f.varint)
			return f.expect(protowire.VarintType)
		}
		return nil
	})
	d.points = append(d.points, s)
	d.written.Samples++
	return err
}

// keep hands the series on when it is one of the two wanted.
func (d *decoder) keep() error {
	if !d.wanted() {
		return nil
	}
	if len(d.samples)+len(d.points) > maxItems {
		return errTooManyItems
	}
	d.builder.Reset()
	for _, pair := range d.labels {
		d.builder.Add(string(pair[0]), string(pair[1]))
	}
	d.builder.Sort()
	lset := d.builder.Labels()
	if _, twice := lset.HasDuplicateLabelNames(); twice || !lset.IsValid(model.UTF8Validation) {
		return errors.New("a series has a label twice, or one that is not valid UTF-8")
	}
	for _, p := range d.points {
		p.Labels = lset
		d.samples = append(d.samples, p)
	}
	return nil
}

func (d *decoder) wanted() bool {
	return slices.ContainsFunc(d.labels, func(pair [2][]byte) bool {
		name := string(pair[1])
		return string(pair[0]) == model.MetricNameLabel && (name == metricUp || name == metricSeries)
	})
}
