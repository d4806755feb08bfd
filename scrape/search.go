package scrape

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
)

// Targets returns one page of the targets that f selects, in the order of the jobs, then by
// address, and how many it selects in all.
func (st *Status) Targets(f Filter) (page []Target, total int) {
	page = []Target{}
	total = st.find(f, func(j *jobSnapshot, i int) { page = append(page, st.view.target(j, i)) })
	return page, total
}

// Explanations is Targets, with why each target of the page is where it is.
func (st *Status) Explanations(f Filter) (page []Explanation, total int) {
	page = []Explanation{}
	total = st.find(f, func(j *jobSnapshot, i int) { page = append(page, st.view.explain(j, i)) })
	return page, total
}

// find calls found for every target on the page, and returns how many f selects
// in all.
func (st *Status) find(f Filter, found func(j *jobSnapshot, i int)) (total int) {
	if st.view == nil {
		return 0
	}
	first, last := (f.Page-1)*f.Limit, f.Page*f.Limit
	for n := range st.view.jobs {
		j := &st.view.jobs[n]
		if f.Job != "" && f.Job != j.name {
			continue
		}
		s := newSearch(j, f)
		for i := range j.targets {
			if !s.selects(i) {
				continue
			}
			if total >= first && total < last {
				found(j, i)
			}
			total++
		}
	}
	return total
}

// search looks through one job. It makes no garbage by target: there may be
// a hundred thousand, and somebody waits.
type search struct {
	*jobSnapshot
	all    bool           // the job's name matches, or there is no query
	query  string         // in lower case
	name   string         // of a label, where the query is name=value
	value  string         // of that label
	sought []byte         // what is among the labels of a target that matches by one of them
	ascii  bool           // sought has no other characters
	cased  bool           // sought has letters
	spans  bool           // the query may match where two parts of a plain URL meet
	owned  bool           // only targets of owner
	owner  int32          // index into members; -1 for one that owns nothing
	owners map[int32]bool // members whose name matches the query
	last   string         // name of the label by which the last target matched: the next one mostly does too
	buf    []byte
}

func newSearch(j *jobSnapshot, f Filter) *search {
	s := &search{jobSnapshot: j, query: strings.ToLower(f.Query), owned: f.Owner != "", owner: -1, owners: map[int32]bool{}}
	s.all = s.query == "" || containsFold(j.name, s.query)
	s.spans = strings.Contains(s.query, "/") || strings.HasSuffix(s.query, ":")
	if name, value, ok := strings.Cut(s.query, "="); ok {
		s.name, s.value = strings.TrimSpace(name), strings.Trim(value, `" `)
	}
	s.sought = []byte(s.query)
	if s.name != "" {
		s.sought = []byte(s.value) // the query may have it too
	}
	s.ascii = !slices.ContainsFunc(s.sought, func(c byte) bool { return c >= utf8.RuneSelf })
	s.cased = slices.ContainsFunc(s.sought, func(c byte) bool { return c >= 'a' && c <= 'z' })
	if j.members == nil {
		return s
	}
	if s.owned {
		s.owner = indexOf(j.members, f.Owner)
	}
	for m := range j.members.Len() {
		if containsFold(j.members.At(m).Name, s.query) {
			s.owners[int32(m)] = true
		}
	}
	return s
}

func (s *search) selects(i int) bool {
	if s.owned && (s.owner < 0 || !s.targets[i].everywhere && !slices.Contains(s.ownersOf(i), s.owner)) {
		return false
	}
	return s.all || s.matches(i)
}

// matches tells whether the query is in one of the target's label values, in
// its URL or key, in the name of an owner, or names a label with its value.
func (s *search) matches(i int) bool {
	t := s.targets[i]
	if len(s.owners) > 0 && (t.everywhere || slices.ContainsFunc(s.ownersOf(i), func(o int32) bool { return s.owners[o] })) {
		return true
	}
	if value := t.labels.Get(s.last); value != "" && s.inLabel(s.last, value) {
		return true
	}
	if s.mayBeIn(t.labels) && s.inLabels(t.labels) {
		return true
	}
	switch cfg := s.resolver.job.Config; {
	case !t.plain:
		return containsFold(scrapeURL(t.labels, cfg), s.query) || containsFold(s.resolver.key(t.labels), s.query)
	case s.spans && containsFold(t.labels.Get(model.SchemeLabel)+"://"+t.address+t.labels.Get(model.MetricsPathLabel), s.query):
		return true
	}
	return strings.Contains(s.query, ";") && containsFold(s.resolver.key(t.labels), s.query)
}

// mayBeIn is false for nearly all that do not match: it looks at all labels at
// once, as they lie in memory.
func (s *search) mayBeIn(ls labels.Labels) bool {
	if !s.ascii {
		return true
	}
	s.buf = ls.Bytes(s.buf)
	if s.cased {
		lower(s.buf)
	}
	return bytes.Contains(s.buf, s.sought)
}

// lower makes ASCII letters lower case, eight at a time.
func lower(b []byte) {
	const each = 0x0101010101010101 // times a byte: that byte eight times
	for ; len(b) >= 8; b = b[8:] {
		x := binary.LittleEndian.Uint64(b)
		low := x & (0x7f * each)
		fromA, aboveZ := low+(0x80-'A')*each, low+(0x80-'Z'-1)*each // the highest bit of each byte says so
		capital := fromA &^ aboveZ &^ x & (0x80 * each)
		binary.LittleEndian.PutUint64(b, x|capital>>2)
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
}

func (s *search) inLabels(ls labels.Labels) bool {
	found := false
	ls.Range(func(l labels.Label) {
		if !found && s.inLabel(l.Name, l.Value) {
			found, s.last = true, l.Name
		}
	})
	return found
}

func (s *search) inLabel(name, value string) bool {
	return strings.Contains(value, s.query) || containsFold(value, s.query) ||
		s.name != "" && strings.EqualFold(name, s.name) && containsFold(value, s.value)
}

// hasPlainURL tells whether the URL is scheme://address/path as they stand: it
// has no parameters, and nothing in it is escaped.
func hasPlainURL(final labels.Labels, cfg *config.ScrapeConfig) bool {
	path, params := final.Get(model.MetricsPathLabel), len(cfg.Params) > 0
	final.Range(func(l labels.Label) { params = params || strings.HasPrefix(l.Name, model.ParamLabelPrefix) })
	return !params && strings.HasPrefix(path, "/") && isPlain(path) && isPlain(final.Get(model.AddressLabel))
}

// isPlain tells whether s is the same in a URL.
func isPlain(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '-' || c > ':') && c != '_' { // - . / digits :
			return false
		}
	}
	return true
}

// containsFold tells whether query, in lower case, is in s in any case.
func containsFold(s, query string) bool {
	if 2*len(s) < len(query) { // no letter grows by more than a half
		return false
	}
	return strings.Contains(strings.ToLower(s), query)
}
