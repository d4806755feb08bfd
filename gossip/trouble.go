package gossip

import (
	"bytes"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// trouble is a kind of thing that goes wrong with others.
type trouble string

const (
	nameConflict trouble = "name_conflict"
	foreignLabel trouble = "foreign_label"
	wrongKey     trouble = "wrong_key"
	garbage      trouble = "garbage"
	badKeyFile   trouble = "key_file"
	badDNS       trouble = "dns"
)

// lasts is how long a problem stays listed after it was last seen. A name conflict shows itself every few seconds; the others at the rejoin
// interval of whoever is wrong.
func (t trouble) lasts() time.Duration {
	if t == nameConflict {
		return time.Minute
	}
	return 5 * time.Minute
}

// line is one line of memberlist's log, or one of ours that must not be written where it comes up.
type line struct {
	level string // memberlist's: ERR, WARN, INFO, DEBUG
	text  string
	// trouble is set if the line tells of one. from is then the address, or the name, that it came from, and label the foreign label.
	trouble trouble
	from    string
	label   string
}

var (
	logLine     = regexp.MustCompile(`^(?:\[(\w+)\] |Err: )?(?:memberlist: )?(.*)$`)
	foreignText = regexp.MustCompile(`^discarding (?:stream|packet) with unacceptable label ("(?:[^"\\]|\\.)*")`)
	keyText     = regexp.MustCompile(`^Decrypt packet failed|no installed keys could decrypt|remote state is not encrypted|remote state is encrypted`)
	garbageText = regexp.MustCompile(`^(?:failed to receive|cannot decode label|label header|missing message type|msg type|` +
		`Received invalid msgType|Failed to decode|Failed to decompress|Failed to read remote state|` +
		`Failed to receive user message|Compound request had|UDP packet too short)`)
	networkText = regexp.MustCompile(`i/o timeout|connection reset|broken pipe|closed network connection|closed pipe`)
	fromText    = regexp.MustCompile(` ?from=(\S+)$`)
)

// parseLine reads a line of memberlist 0.7.0. Foreign labels, wrong keys and garbage show nowhere else.
func parseLine(p []byte) line {
	m := logLine.FindStringSubmatch(string(bytes.TrimSpace(p)))
	if m == nil {
		return line{level: "INFO", text: string(bytes.TrimSpace(p))}
	}
	l := line{level: m[1], text: m[2]}
	from := fromText.FindStringSubmatch(l.text)
	if from == nil {
		return l // of our own doing: what came from others says from where
	}
	l.from = from[1]
	switch label := foreignText.FindStringSubmatch(l.text); {
	case label != nil && label[1] == `""`:
		l.trouble = garbage // every sidecar has a label
	case label != nil:
		l.trouble, l.label = foreignLabel, label[1]
	case keyText.MatchString(l.text):
		l.trouble = wrongKey
	case garbageText.MatchString(l.text) && !networkText.MatchString(l.text):
		l.trouble = garbage
	}
	return l
}

// advice is what to tell a person about a line's trouble.
func (l line) advice() string {
	host := hostOf(l.from)
	switch l.trouble {
	case nameConflict:
		return l.text
	case foreignLabel:
		return fmt.Sprintf("%s gossips here for another cluster, %s: give both the same cluster.name, or take this member out of its peers", host, l.label)
	case wrongKey:
		return fmt.Sprintf("%s gossips under a key that is not in this member's key file, or under none: give both the same cluster.key_file", host)
	default:
		return fmt.Sprintf("%s sends to the gossip port what is not gossip: only sidecars of this cluster should reach it", host)
	}
}

// hostOf drops the port, which differs from stream to stream.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// maxProblems bounds the problems listed.
const maxProblems = 32

// logEvery is how often a problem that lasts, or a line of memberlist that recurs, is logged.
const logEvery = time.Minute

// problems are the troubles of late.
type problems struct {
	mu   sync.Mutex
	seen map[problemKey]*problem
}

// problemKey tells one problem from another of its kind, by a name, an address or a host.
type problemKey struct {
	trouble trouble
	who     string
}

type problem struct {
	text         string
	last, logged time.Time
}

// note files a problem, and reports whether to log it.
func (p *problems) note(key problemKey, text string, now time.Time) (log bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire(now)
	x := p.seen[key]
	if x == nil {
		if len(p.seen) >= maxProblems {
			return false
		}
		x = &problem{}
		p.seen[key] = x
	}
	x.text, x.last = text, now
	if log = now.Sub(x.logged) >= logEvery; log {
		x.logged = now
	}
	return log
}

func (p *problems) has(key problemKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[key] != nil
}

// text is what is listed of one problem; empty: nothing.
func (p *problems) text(key problemKey) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if x := p.seen[key]; x != nil {
		return x.text
	}
	return ""
}

func (p *problems) clear(key problemKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.seen, key)
}

// list returns the problems of late, sorted.
func (p *problems) list(now time.Time) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire(now)
	var out []string
	for _, x := range p.seen {
		out = append(out, x.text)
	}
	slices.SortFunc(out, strings.Compare)
	return out
}

func (p *problems) expire(now time.Time) {
	for key, x := range p.seen {
		if now.Sub(x.last) > key.trouble.lasts() {
			delete(p.seen, key)
		}
	}
}
