package wire_test

import (
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/ringside-project/ringside/relay/wire"
)

// The edit of nearly every relay: one label, which may be there already.
var (
	oneNames = wire.NewNames("prometheus_replica")
	oneEdit  = wire.NewEdit(oneNames, []labels.Label{{Name: "prometheus_replica", Value: "prometheus-0"}}, nil)
)

// checkOneAdded compares what becomes of an accepted body by that edit with its
// series as they came, which the other checks compare with the reference.
func checkOneAdded(t *testing.T, msg wire.Message, body []byte) {
	t.Helper()
	var before, after wire.Batch
	if err := before.Parse(msg, body, oneNames); err != nil {
		t.Fatalf("with one name: %v", err)
	}
	out := before.Render(nil, msg, oneEdit, nil)
	if err := after.Parse(msg, out, oneNames); err != nil {
		t.Fatalf("rendered %x: %v", out, err)
	}
	sb, builder := labels.NewScratchBuilder(0), labels.NewBuilder(labels.EmptyLabels())
	invalid, at := before.Invalid(), 0
	for i := range before.Len() {
		if len(invalid) > 0 && invalid[0].Series == i {
			invalid = invalid[1:]
			continue
		}
		builder.Reset(before.Labels(i, nil, &sb))
		if _, there := before.Value(i, "prometheus_replica"); !there {
			builder.Set("prometheus_replica", "prometheus-0")
		}
		want := before.Labels(i, oneEdit, &sb)
		if got := after.Labels(at, nil, &sb); !labels.Equal(got, want) || after.Counts(at) != before.Counts(i) {
			t.Fatalf("series %d is %s with %+v, want %s with %+v", i, got, after.Counts(at), want, before.Counts(i))
		}
		if built := builder.Labels(); !hasEmptyValue(want) && !labels.Equal(built, want) {
			t.Fatalf("series %d is edited to %s, want %s", i, want, built)
		}
		at++
	}
	if after.Len() != at || len(after.Invalid()) > 0 {
		t.Fatalf("%d series of %d valid ones, %v invalid", after.Len(), at, after.Invalid())
	}
}

// hasEmptyValue tells of labels that a labels.Builder leaves out.
func hasEmptyValue(lset labels.Labels) (found bool) {
	lset.Range(func(l labels.Label) { found = found || l.Value == "" })
	return found
}
