package gossip

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

func exampleMessage() *message {
	return &message{Name: "prometheus-0", Address: "10.0.0.7:7946", Incarnation: 1763754000000000000, Seq: 42, Facts: Facts{
		Zone: "eu-1a", HTTPAddress: "10.0.0.7:9590", Version: "0.1.0", State: Draining, PrometheusReady: true,
		Targets: 1200, Series: 1 << 40, CapacitySeries: 5_000_000, ConfigHash: 1, View: math.MaxUint64, AppliedView: 3,
		Jobs: []JobFacts{{ID: 1, View: 2, Applied: 3}, {ID: math.MaxUint64, View: 5, Applied: 6}},
	}}
}

func TestMessageRoundTrip(t *testing.T) {
	for _, m := range []*message{exampleMessage(), {Name: "a", Address: "b", Facts: Facts{State: Joining}}} {
		got, err := decodeMessage(m.encode())
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("got %+v, %v, want %+v", got, err, m)
		}
	}
}

func TestMessageLimits(t *testing.T) {
	m := exampleMessage()
	m.Facts.Zone = strings.Repeat("ü", 200)
	m.Facts.Targets, m.Facts.Series = -1, -1
	m.Facts.Jobs = make([]JobFacts, maxJobs+1)
	b := m.encode()
	if len(b) > maxMessage {
		t.Errorf("%d bytes", len(b))
	}
	got, err := decodeMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	if f := got.Facts; f.Zone != strings.Repeat("ü", 127) || f.Targets != 0 || f.Series != 0 || len(f.Jobs) != maxJobs {
		t.Errorf("zone %q, %d targets, %d series, %d jobs", f.Zone, f.Targets, f.Series, len(f.Jobs))
	}
	if _, err := decodeMessage(append(b, make([]byte, maxMessage)...)); err == nil {
		t.Error("a message that is too long was accepted")
	}
}

func TestMessageRefused(t *testing.T) {
	good := exampleMessage().encode()
	if _, err := decodeMessage(append(bytes.Clone(good), "a field to come"...)); err != nil {
		t.Errorf("appended fields are not passed over: %v", err)
	}
	for n := range good {
		if _, err := decodeMessage(good[:n]); !errors.Is(err, errTruncated) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	next := bytes.Clone(good)
	next[0]++
	if _, err := decodeMessage(next); !errors.Is(err, errVersion) {
		t.Errorf("another version: %v", err)
	}
	for name, change := range map[string]func(*message){
		"no name":    func(m *message) { m.Name = "" },
		"no address": func(m *message) { m.Address = "" },
		"dead":       func(m *message) { m.Facts.State = Dead },
		"far future": func(m *message) { m.Incarnation = math.MaxUint64 },
	} {
		m := exampleMessage()
		change(m)
		if _, err := decodeMessage(m.encode()); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestState(t *testing.T) {
	for _, want := range [][][]byte{nil, {[]byte("one")}, {[]byte("one"), {}, []byte("three")}} {
		b := encodeState(want)
		got, err := decodeState(b)
		if err != nil || len(got) != len(want) || !bytes.Equal(bytes.Join(got, []byte{0}), bytes.Join(want, []byte{0})) {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
		for n := range b {
			if _, err := decodeState(b[:n]); !errors.Is(err, errTruncated) {
				t.Errorf("cut to %d bytes: %v", n, err)
			}
		}
	}
	if _, err := decodeState([]byte{messageVersion + 1, 0}); !errors.Is(err, errVersion) {
		t.Errorf("another version: %v", err)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(exampleMessage().encode())
	f.Add((&message{Name: "a", Address: "b"}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMessage(b)
		if err != nil {
			return
		}
		again, err := decodeMessage(m.encode())
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("decoded %+v, then %+v, %v", m, again, err)
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add(encodeState([][]byte{exampleMessage().encode(), []byte("x")}))
	f.Add(encodeState(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		messages, err := decodeState(b)
		if err != nil {
			return
		}
		again, err := decodeState(encodeState(messages))
		if err != nil || !reflect.DeepEqual(again, messages) {
			t.Errorf("decoded %q, then %q, %v", messages, again, err)
		}
	})
}
