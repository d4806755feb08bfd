package gossip

import (
	"fmt"
	"testing"
	"time"
)

func says(name, address string, incarnation, seq uint64, state State) (*message, []byte) {
	m := &message{Name: name, Address: address, Incarnation: incarnation, Seq: seq, Facts: Facts{State: state}}
	return m, m.encode()
}

func (b *book) tell(now time.Time, name, address string, incarnation, seq uint64, state State) bool {
	m, raw := says(name, address, incarnation, seq, state)
	return b.hear(m, raw, now)
}

// sees is b's list in short.
func (b *book) sees() (out string) {
	for _, m := range b.members() {
		out += fmt.Sprintf("%s@%s %s ", m.Name, m.Address, m.State)
	}
	return out
}

func TestBook(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		do   func(b *book)
		want string
	}{
		{"facts before the member", func(b *book) {
			b.tell(begin, "a", "1", 5, 1, Active)
			b.join("a", "1", begin)
		}, "a@1 active "},
		{"member before the facts", func(b *book) { b.join("a", "1", begin) }, "a@1 joining "},
		{"older facts", func(b *book) {
			b.join("a", "1", begin)
			b.tell(begin, "a", "1", 5, 2, Active)
			b.tell(begin, "a", "1", 5, 1, Joining)
			b.tell(begin, "a", "1", 4, 9, Draining)
		}, "a@1 active "},
		{"a new life", func(b *book) {
			b.join("a", "1", begin)
			b.tell(begin, "a", "1", 5, 9, Active)
			b.tell(begin, "a", "1", 6, 1, Joining)
		}, "a@1 joining "},
		{"a new life elsewhere, with a clock that is behind", func(b *book) {
			b.join("a", "1", begin)
			b.tell(begin, "a", "1", 5, 9, Active)
			b.leave("a", begin)
			b.tell(begin, "a", "2", 4, 1, Unready)
			b.join("a", "2", begin)
		}, "a@2 unready "},
		{"a namesake", func(b *book) {
			b.join("a", "1", begin)
			b.tell(begin, "a", "1", 5, 1, Active)
			b.tell(begin, "a", "2", 6, 1, Draining)
		}, "a@1 active "},
		{"dead", func(b *book) {
			b.join("a", "1", begin)
			b.tell(begin, "a", "1", 5, 1, Active)
			b.leave("a", begin)
		}, "a@1 dead "},
		{"left", func(b *book) {
			b.join("a", "1", begin)
			b.leave("a", begin)
			b.tell(begin, "a", "1", 5, 1, Left)
		}, "a@1 left "},
		{"said good-bye", func(b *book) {
			b.join("a", "1", begin)
			b.tell(begin, "a", "1", 5, 1, Left)
		}, "a@1 left "},
		{"back", func(b *book) {
			b.join("a", "1", begin)
			b.tell(begin, "a", "1", 5, 1, Active)
			b.leave("a", begin)
			b.join("a", "1", begin)
		}, "a@1 active "},
		{"gone for long", func(b *book) {
			b.join("a", "1", begin)
			b.join("b", "2", begin)
			b.leave("a", begin)
			b.expire(begin.Add(goneListed))
		}, "b@2 joining "},
		{"a stranger goes", func(b *book) { b.leave("a", begin) }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBook()
			tt.do(b)
			if got := b.sees(); got != tt.want {
				t.Errorf("sees %q, want %q", got, tt.want)
			}
		})
	}
}

// Facts of members that never come are bounded, in number and in time, and crowd nobody out.
func TestBookBounds(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := newBook()
	b.join("a", "1", now)
	b.tell(now, "a", "1", 1, 1, Active)
	for i := range 10 * maxUnknown {
		now = now.Add(time.Millisecond)
		b.tell(now, fmt.Sprint(i), "9", 1, 1, Active)
	}
	if len(b.said) > maxUnknown+1 {
		t.Errorf("holds %d", len(b.said))
	}
	if _, ok := b.said[origin{fmt.Sprint(10*maxUnknown - 1), "9"}]; !ok || b.sees() != "a@1 active " {
		t.Errorf("the newest is lost, or sees %q", b.sees())
	}
	b.expire(now.Add(unknownKept + time.Second))
	if len(b.said) != 1 {
		t.Errorf("holds %d after %s", len(b.said), unknownKept)
	}
	if got := b.state(); len(got) != 1 {
		t.Errorf("hands on %d", len(got))
	}
}
