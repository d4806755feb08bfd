package gossip

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestParseLine(t *testing.T) {
	tests := []struct {
		in    string
		want  line
		level string
	}{
		{in: "[DEBUG] memberlist: Stream connection from=127.0.0.1:5\n", want: line{level: "DEBUG", from: "127.0.0.1:5"}},
		{in: "[INFO] memberlist: Suspect a has failed, no acks received", want: line{level: "INFO"}},
		{
			in:   `[ERR] memberlist: discarding packet with unacceptable label "a\"b": from=10.0.0.1:7946`,
			want: line{level: "ERR", trouble: foreignLabel, from: "10.0.0.1:7946", label: `"a\"b"`},
		},
		{
			in:   `[ERR] memberlist: discarding stream with unacceptable label "": from=[::1]:7946`,
			want: line{level: "ERR", trouble: garbage, from: "[::1]:7946"},
		},
		{
			in:   "[ERR] memberlist: failed to receive: no installed keys could decrypt the message from=10.0.0.1:1",
			want: line{level: "ERR", trouble: wrongKey, from: "10.0.0.1:1"},
		},
		{
			in:   "[ERR] memberlist: Decrypt packet failed: unsupported encryption version 9 from=10.0.0.1:1",
			want: line{level: "ERR", trouble: wrongKey, from: "10.0.0.1:1"},
		},
		{
			in:   "[ERR] memberlist: failed to receive: read tcp 10.0.0.2:7946->10.0.0.1:1: i/o timeout from=10.0.0.1:1",
			want: line{level: "ERR", from: "10.0.0.1:1"},
		},
		{in: "[ERR] memberlist: msg type (99) not supported from=10.0.0.1:1", want: line{level: "ERR", trouble: garbage, from: "10.0.0.1:1"}},
		{in: "[WARN] memberlist: Refuting a suspect message (from: a)", want: line{level: "WARN"}},
		{in: "Err: Could not set the deadline: closed", want: line{}},
		{in: "", want: line{}},
	}
	for _, tt := range tests {
		got := parseLine([]byte(tt.in))
		if !strings.HasSuffix(strings.TrimSpace(tt.in), got.text) {
			t.Errorf("%q: text %q", tt.in, got.text)
		}
		if got.text = ""; got != tt.want {
			t.Errorf("%q: got %+v, want %+v", tt.in, got, tt.want)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add([]byte(`[ERR] memberlist: discarding packet with unacceptable label "staging": from=10.0.0.1:7946`))
	f.Add([]byte("[ERR] memberlist: failed to receive: EOF from=10.0.0.1:7946"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := parseLine(b)
		if l.trouble != "" && l.from == "" {
			t.Errorf("%q: trouble from nobody: %+v", b, l)
		}
	})
}

func TestProblems(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := problems{seen: map[problemKey]*problem{}}
	conflict, key := problemKey{nameConflict, "a"}, problemKey{wrongKey, "10.0.0.1"}
	if !p.note(conflict, "conflict", now) || p.note(conflict, "conflict", now.Add(time.Second)) {
		t.Error("logged not once")
	}
	p.note(key, "key", now)
	if got := strings.Join(p.list(now.Add(30*time.Second)), " "); got != "conflict key" {
		t.Errorf("listed %q", got)
	}
	if got := strings.Join(p.list(now.Add(4*time.Minute)), " "); got != "key" {
		t.Errorf("listed %q after 4 minutes", got)
	}
	for i := range 10 * maxProblems {
		p.note(problemKey{garbage, fmt.Sprint(i)}, "garbage", now)
	}
	if got := p.list(now); len(got) != maxProblems {
		t.Errorf("%d are listed", len(got))
	}
	p.clear(key)
	if p.has(key) {
		t.Error("not cleared")
	}
}
