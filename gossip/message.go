package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of what is sent, and of what is accepted.
const (
	messageVersion = 1
	maxString      = 255     // bytes of each string
	maxJobs        = 8192    // jobs of a member; those beyond are not gossiped
	maxMessage     = 1 << 18 // bytes of one member's facts: all jobs and room for fields to come
	maxStateCount  = 4096    // members in one push/pull
	maxIncarnation = math.MaxInt64
)

var (
	errTruncated = errors.New("truncated")
	errVersion   = errors.New("unknown version")
)

// message is what one life of a member says of itself. A newer one has a higher incarnation or, in the same, a higher seq.
type message struct {
	Name        string
	Address     string // host:port of gossip, which tells this member from another of the same name
	Incarnation uint64 // of this start: its time in nanoseconds since 1970
	Seq         uint64 // of this message
	Facts       Facts
}

func (m *message) newerThan(o *message) bool {
	if m.Incarnation != o.Incarnation {
		return m.Incarnation > o.Incarnation
	}
	return m.Seq > o.Seq
}

// encode writes
//
//	version byte, name, address, incarnation, seq, state byte, flags byte (1 = Prometheus ready), zone, HTTP address, version,
//	targets, series, capacity, config hash, view, applied view, number of jobs, for each job its ID, view and applied view
//
// where strings are preceded by their length, numbers are uvarints, and hashes and digests have 8 bytes, big-endian. Newer versions may append
// fields: decodeMessage passes over what follows.
func (m *message) encode() []byte {
	f := &m.Facts
	b := make([]byte, 0, 256+24*len(f.Jobs))
	b = append(b, messageVersion)
	b = appendString(b, m.Name)
	b = appendString(b, m.Address)
	b = binary.AppendUvarint(b, m.Incarnation)
	b = binary.AppendUvarint(b, m.Seq)
	b = append(b, byte(max(0, slices.Index(states, f.State))))
	var flags byte
	if f.PrometheusReady {
		flags = 1
	}
	b = append(b, flags)
	b = appendString(b, f.Zone)
	b = appendString(b, f.HTTPAddress)
	b = appendString(b, f.Version)
	b = binary.AppendUvarint(b, uint64(max(0, f.Targets)))
	b = binary.AppendUvarint(b, uint64(max(0, f.Series)))
	b = binary.AppendUvarint(b, uint64(max(0, f.CapacitySeries)))
	b = binary.BigEndian.AppendUint64(b, f.ConfigHash)
	b = binary.BigEndian.AppendUint64(b, f.View)
	b = binary.BigEndian.AppendUint64(b, f.AppliedView)
	jobs := f.Jobs[:min(len(f.Jobs), maxJobs)]
	b = binary.AppendUvarint(b, uint64(len(jobs)))
	for _, j := range jobs {
		b = binary.BigEndian.AppendUint64(b, j.ID)
		b = binary.BigEndian.AppendUint64(b, j.View)
		b = binary.BigEndian.AppendUint64(b, j.Applied)
	}
	return b
}

// appendString cuts s to maxString bytes, and drops from it what is not UTF-8.
func appendString(b []byte, s string) []byte {
	s = strings.ToValidUTF8(s[:min(len(s), maxString)], "")
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// decodeMessage reads what encode wrote. It keeps nothing of b, and allocates no more than a small multiple of it.
func decodeMessage(b []byte) (*message, error) {
	if len(b) > maxMessage {
		return nil, fmt.Errorf("facts of %d bytes: at most %d are accepted", len(b), maxMessage)
	}
	r := reader{b: b}
	if v := r.byte(); v != messageVersion && r.err == nil {
		return nil, fmt.Errorf("facts: %w %d", errVersion, v)
	}
	m := &message{Name: r.string(), Address: r.string(), Incarnation: r.uvarint(maxIncarnation), Seq: r.uvarint(math.MaxUint64)}
	f := &m.Facts
	state := r.byte()
	f.PrometheusReady = r.byte()&1 != 0
	f.Zone, f.HTTPAddress, f.Version = r.string(), r.string(), r.string()
	f.Targets = int(r.uvarint(math.MaxInt32))
	f.Series, f.CapacitySeries = int64(r.uvarint(math.MaxInt64)), int64(r.uvarint(math.MaxInt64))
	f.ConfigHash, f.View, f.AppliedView = r.uint64(), r.uint64(), r.uint64()
	jobs := r.uvarint(maxJobs)
	switch {
	case r.err != nil:
		return nil, fmt.Errorf("facts: %w", r.err)
	case m.Name == "" || m.Address == "":
		return nil, errors.New("facts: without name or address")
	case int(state) >= len(states) || states[state] == Dead:
		return nil, fmt.Errorf("facts: unknown state %d", state)
	case int(jobs)*24 > len(r.b):
		return nil, fmt.Errorf("facts: %w", errTruncated)
	}
	f.State = states[state]
	if jobs > 0 {
		f.Jobs = make([]JobFacts, jobs)
	}
	for i := range f.Jobs {
		f.Jobs[i] = JobFacts{ID: r.uint64(), View: r.uint64(), Applied: r.uint64()}
	}
	return m, nil
}

// encodeState writes messages for a push/pull: version byte, count, and each message preceded by its length.
func encodeState(messages [][]byte) []byte {
	messages = messages[:min(len(messages), maxStateCount)]
	size := 16
	for _, m := range messages {
		size += len(m) + 4
	}
	b := make([]byte, 0, size)
	b = append(b, messageVersion)
	b = binary.AppendUvarint(b, uint64(len(messages)))
	for _, m := range messages {
		b = binary.AppendUvarint(b, uint64(len(m)))
		b = append(b, m...)
	}
	return b
}

// decodeState splits what encodeState wrote. The messages are parts of b, and not looked into.
func decodeState(b []byte) ([][]byte, error) {
	r := reader{b: b}
	if v := r.byte(); v != messageVersion && r.err == nil {
		return nil, fmt.Errorf("push/pull: %w %d", errVersion, v)
	}
	count := r.uvarint(maxStateCount)
	var out [][]byte
	for range count {
		m := r.bytes(r.uvarint(maxMessage))
		if r.err != nil {
			break
		}
		out = append(out, m)
	}
	if r.err != nil {
		return nil, fmt.Errorf("push/pull: %w", r.err)
	}
	return out, nil
}

// reader takes fields off the front of b. After the first error it returns zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) bytes(n uint64) []byte {
	if r.err == nil && n > uint64(len(r.b)) {
		r.err = errTruncated
	}
	if r.err != nil {
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uvarint(limit uint64) uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.b)
	switch {
	case n <= 0:
		r.err = errTruncated
		return 0
	case v > limit:
		r.err = fmt.Errorf("number %d: at most %d is accepted", v, limit)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) string() string {
	s := string(r.bytes(r.uvarint(maxString)))
	if r.err == nil && !utf8.ValidString(s) {
		r.err = errors.New("text is not UTF-8")
	}
	return s
}
