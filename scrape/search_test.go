package scrape

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"github.com/ringside-project/ringside/scrape/placement"
)

const probeSource = `scrape_configs:
  - job_name: Probe
    metrics_path: /probe
    params: {module: [http_2xx, ICMP]}
    relabel_configs:
      - {source_labels: [__meta_scheme], regex: (.+), target_label: __scheme__}
      - {source_labels: [__meta_path], regex: (.+), target_label: __metrics_path__}
      - {source_labels: [__meta_target], regex: (.+), target_label: __param_target}
      - {source_labels: [__meta_plain], regex: (.+), target_label: __param_module, replacement: ""}
      - {source_labels: [__meta_hash], regex: (.+), target_label: __tmp_hash}
      - {source_labels: [__meta_team], target_label: team}
`

// searched is the status of a job with these targets, owned by members.
func searched(r *resolver, replicas int, targets []model.LabelSet, members ...placement.Member) *Status {
	name := r.job.Config.JobName
	j := &job{id: JobID(name), name: name, next: options{replicas: replicas}}
	j.setTargets(r.resolve(groupsOf(targets...)).targets, nil)
	j.setView(placement.NewMembers(members), "m0", time.Now(), nil)
	return &Status{view: &snapshot{jobs: []jobSnapshot{{job: *j, resolver: r, confirmed: make([]bool, len(members))}}}}
}

// TestSearch compares the quick search with what it stands for.
func TestSearch(t *testing.T) {
	job, external := loadJob(t, probeSource)
	piece := rapid.SampledFrom([]string{"", "a", "B", "10.0.0.1:80", "pod_1-x", "/", "/m", "//x", "é", " ", "?", "%41", "[::1]:9", ";", "https"})
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) model.LabelValue {
			return model.LabelValue(strings.Join(rapid.SliceOfN(piece, 0, 3).Draw(t, name), ""))
		}
		var targets []model.LabelSet
		for i := range rapid.IntRange(1, 4).Draw(t, "targets") {
			targets = append(targets, model.LabelSet{
				model.AddressLabel: model.LabelValue(fmt.Sprintf("Host%d:80", i)),
				"__meta_scheme":    rapid.SampledFrom([]model.LabelValue{"", "https"}).Draw(t, "scheme"),
				"__meta_path":      text("path"), "__meta_target": text("target"), "__meta_hash": text("hash"), "__meta_team": text("team"),
				"__meta_plain": rapid.SampledFrom([]model.LabelValue{"", "x"}).Draw(t, "plain"),
			})
		}
		st := searched(newResolver(job, JobSharding{Replicas: 1, ShardBy: []string{"team", "instance"}}, self, external), 1, targets,
			placement.Member{Name: "Pod_1"}, placement.Member{Name: "m0"})
		j := &st.view.jobs[0]
		var urls []string
		for _, target := range j.targets {
			url := scrapeURL(target.labels, j.resolver.job.Config)
			urls = append(urls, url, j.resolver.key(target.labels))
		}
		query := rapid.OneOf(
			rapid.Custom(func(t *rapid.T) string { // a part of what there is
				s := []rune(rapid.SampledFrom(urls).Draw(t, "of"))
				from := rapid.IntRange(0, len(s)).Draw(t, "from")
				return string(s[from:rapid.IntRange(from, len(s)).Draw(t, "to")])
			}),
			rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(piece, 1, 3).Draw(t, "query"), "") }),
		).Draw(t, "query")
		var want []string
		for i, target := range j.targets {
			if slowly(j, i, strings.ToLower(query)) {
				want = append(want, scrapeURL(target.labels, j.resolver.job.Config))
			}
		}
		page, total := st.Targets(Filter{Query: query, Page: 1, Limit: 10})
		var got []string
		for _, target := range page {
			got = append(got, target.ScrapeURL)
		}
		if !slices.Equal(got, want) || total != len(want) {
			t.Fatalf("%q finds %q, %d in all; want %q", query, got, total, want)
		}
	})
}

// slowly is what the search stands for.
func slowly(j *jobSnapshot, i int, query string) bool {
	in := func(s string) bool { return strings.Contains(strings.ToLower(s), query) }
	name, value, pair := strings.Cut(query, "=")
	found := in(j.name)
	j.targets[i].labels.Range(func(l labels.Label) {
		found = found || in(l.Value) || pair && strings.EqualFold(l.Name, name) && strings.Contains(strings.ToLower(l.Value), value)
	})
	return found || in(scrapeURL(j.targets[i].labels, j.resolver.job.Config)) || in(j.resolver.key(j.targets[i].labels)) ||
		slices.ContainsFunc(j.ownerNames(i), in)
}

func TestSearchByLabel(t *testing.T) {
	job, external := loadJob(t, probeSource)
	st := searched(newResolver(job, JobSharding{Replicas: 1}, self, external), 1, []model.LabelSet{
		{model.AddressLabel: "a:1", "__meta_team": "Payments"}, {model.AddressLabel: "b:1", "__meta_team": "search"}, {model.AddressLabel: "c:1"},
	})
	if _, total := st.Targets(Filter{Query: "team=", Page: 1, Limit: 10}); total != 2 {
		t.Errorf("%d have the label, not 2", total)
	}
	for _, query := range []string{"team=payments", `team="Payments"`, "TEAM = pay"} {
		if page, total := st.Explanations(Filter{Query: query, Page: 1, Limit: 10}); total != 1 || page[0].Labels.Get("team") != "Payments" {
			t.Errorf("%s finds %v", query, page)
		}
	}
	if _, total := st.Targets(Filter{Query: "teams=payments", Page: 1, Limit: 10}); total != 0 {
		t.Errorf("a label that is not there finds %d", total)
	}
}

// TestNext compares who is said to take over with who does.
func TestNext(t *testing.T) {
	job, external := loadJob(t, "scrape_configs:\n  - job_name: j\n")
	var targets []model.LabelSet
	for i := range 100 {
		targets = append(targets, model.LabelSet{model.AddressLabel: model.LabelValue(fmt.Sprintf("10.0.0.%d:80", i))})
	}
	members := []placement.Member{{Name: "a", Zone: "1"}, {Name: "b", Zone: "2"}, {Name: "c", Zone: "1"}, {Name: "d", Zone: "3"}}
	for replicas := 1; replicas <= 4; replicas++ {
		st := searched(newResolver(job, JobSharding{Replicas: replicas}, self, external), replicas, targets, members...)
		for _, gone := range members {
			left := slices.DeleteFunc(slices.Clone(members), func(m placement.Member) bool { return m.Name == gone.Name })
			after := st.view.jobs[0].job
			after.setView(placement.NewMembers(left), "m0", time.Now(), nil)
			for i := range targets {
				e := st.view.explain(&st.view.jobs[0], i)
				was := slices.Index(e.Owners, gone.Name)
				if was < 0 {
					continue
				}
				heirs := slices.DeleteFunc(after.ownerNames(i), func(name string) bool { return slices.Contains(e.Owners, name) })
				if got := e.Next[was]; got != strings.Join(heirs, ",") {
					t.Fatalf("owners %v: after %s comes %v, not %q", e.Owners, gone.Name, heirs, got)
				}
			}
		}
	}
}

func TestMoveCounts(t *testing.T) {
	var m moveCounts
	at := time.Unix(1_000_000_005, 0)
	for _, step := range []struct {
		after  time.Duration
		reason string
	}{{0, "join"}, {time.Second, "crash"}, {time.Second, "join"}, {time.Minute, "join"}} {
		at = at.Add(step.after)
		m = m.count(at, step.reason)
	}
	if len(m) != 3 || m[0].Moves != 2 || m[1].Reason != "crash" || m[2].Moves != 1 || !m[0].Time.Equal(time.Unix(1_000_000_005, 0)) {
		t.Errorf("%+v", m)
	}
	if m = m.count(at.Add(movedFor+time.Minute), "leave"); len(m) != 1 {
		t.Errorf("%+v: what is too old stays", m)
	}
	for i := range 3 * maxMoved {
		m = m.count(at.Add(time.Duration(i)*movedSpan), "join")
	}
	if len(m) > maxMoved {
		t.Errorf("%d counts", len(m))
	}
}

// BenchmarkSearch looks through 100,000 targets of 100 members: for what is
// there once, not at all, and everywhere, beside all without a query.
func BenchmarkSearch(b *testing.B) {
	job, external := loadJob(b, "scrape_configs:\n  - job_name: j\n")
	var targets []model.LabelSet
	for i := range 100_000 {
		targets = append(targets, model.LabelSet{
			model.AddressLabel: model.LabelValue(fmt.Sprintf("10.%d.%d.%d:9100", i/65536, i/256%256, i%256)),
			"namespace":        model.LabelValue(fmt.Sprintf("team-%d", i%300)), "pod": model.LabelValue(fmt.Sprintf("pod-%d-abcde", i)), "env": "prod",
		})
	}
	var members []placement.Member
	for i := range 100 {
		members = append(members, placement.Member{Name: fmt.Sprintf("prometheus-%d", i)})
	}
	st := searched(newResolver(job, JobSharding{Replicas: 1}, self, external), 1, targets, members...)
	for _, f := range []struct {
		name string
		Filter
	}{
		{"all", Filter{}},
		{"address", Filter{Query: "10.1.7.9:9100"}},
		{"nothing", Filter{Query: "no such thing"}},
		{"url", Filter{Query: "http://10.1.7.9:9100/metrics"}},
		{"everything", Filter{Query: "prod"}},
		{"owner", Filter{Owner: "prometheus-7"}},
		{"label", Filter{Query: "pod=pod-77777-abcde"}},
	} {
		b.Run(f.name, func(b *testing.B) {
			f.Page, f.Limit = 1, 25
			for b.Loop() {
				st.Explanations(f.Filter)
			}
		})
	}
	b.Run("explain", func(b *testing.B) {
		for b.Loop() {
			st.Explain("http://10.1.7.9:9100/metrics", 1000)
		}
	})
}

func TestLower(t *testing.T) {
	for c := range 256 {
		for at := range 19 {
			b := bytes.Repeat([]byte{'A'}, 19)
			b[at] = byte(c)
			want := bytes.Repeat([]byte{'a'}, 19)
			if want[at] = byte(c); c >= 'A' && c <= 'Z' {
				want[at] = byte(c) + 'a' - 'A'
			}
			if lower(b); !bytes.Equal(b, want) {
				t.Fatalf("%q at %d: %q", rune(c), at, b)
			}
		}
	}
}
