package upstream

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/ringside-project/ringside/relay/wire"
)

// Thanos Receive writes what it can of a request and names the rest in words.
func TestPartlyWritten(t *testing.T) {
	sent := wire.Counts{Samples: 5, Histograms: 2, Exemplars: 1}
	for _, tc := range []struct {
		name, words string
		status      int
		want        wire.Counts // written
		class       class
	}{
		{"samples", "writing locally: add 3 samples: out of order sample\n", 409, wire.Counts{Samples: 2, Histograms: 2, Exemplars: 1}, partial},
		{"series", "add 1 series: label set contains a label with empty name or value", 409, wire.Counts{Samples: 4, Histograms: 2, Exemplars: 1}, partial},
		{"several", "writing locally: 3 errors: add 2 samples: out of order sample; add 1 samples: out of bounds; add 1 exemplars: duplicate exemplar", 409, wire.Counts{Samples: 2, Histograms: 2}, partial},
		{"histograms count as samples", "add 6 samples: out of bounds", 409, wire.Counts{Histograms: 1, Exemplars: 1}, partial},
		{"more than was sent", "add 99999999999999999999 samples: out of bounds", 409, wire.Counts{Histograms: 2, Exemplars: 1}, partial},
		{"not committed", "2 errors: add 1 samples: out of bounds; commit samples: disk full", 409, wire.Counts{}, suspect},
		{"a router", "replicate write request: 2 errors: forwarding request to a: add 1 samples: out of bounds", 409, wire.Counts{}, suspect},
		{"another receiver", "out of order sample", 409, wire.Counts{}, suspect},
		{"another status", "add 3 samples: out of order sample", 400, wire.Counts{}, suspect},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := classify(tc.status, http.Header{}, wire.V1, sent)
			a.partlyWritten(tc.words, sent)
			if a.class != tc.class || a.written != tc.want {
				t.Errorf("class %d with %+v written, want %d with %+v", a.class, a.written, tc.class, tc.want)
			}
		})
	}
}

// One old sample among many series that are in the request twice costs one
// request an endpoint, and is the only one that is counted as rejected.
func TestThanosIsNotSearched(t *testing.T) {
	for copies := 1; copies <= 2; copies++ {
		t.Run(fmt.Sprint(copies), func(t *testing.T) {
			says := func(received) reply {
				return reply{status: 409, body: "writing locally: add 1 samples: out of order sample\n"}
			}
			servers := []*receiver{newReceiver(t, says), newReceiver(t, says)}[:copies]
			r := newRig(t, at(servers...)+fmt.Sprintf("replication_factor: %d\n", copies))
			res := r.Deliver(t.Context(), batch(t, r, wire.V1, append(points(10), points(10)...)...))
			want := Result{Delivered: wire.Counts{Samples: 19}, Rejected: wire.Counts{Samples: 1}, Status: 409, Reason: res.Reason}
			if res != want || res.Reason == "" {
				t.Errorf("got  %+v\nwant %+v", res, want)
			}
			for _, s := range servers {
				if n := len(s.all()); n != 1 {
					t.Errorf("%d requests, want 1", n)
				}
			}
		})
	}
}

// A series that may be the one left out by one endpoint, while another is down,
// may lack its quorum: it must come again.
func TestPartlyWrittenWithoutQuorum(t *testing.T) {
	partly := newReceiver(t, func(received) reply { return reply{status: 409, body: "add 1 samples: out of order sample"} })
	down := newReceiver(t, func(received) reply { return reply{status: 503} })
	r := newRig(t, at(partly, newReceiver(t, nil), down)+"replication_factor: 3\n")
	if res := r.Deliver(t.Context(), batch(t, r, wire.V1, points(3)...)); res.Status != 503 || res.Failed.Samples != 3 {
		t.Errorf("got %+v, want all to be sent again", res)
	}
}
