package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/ringside-project/ringside/scrape"
	"github.com/ringside-project/ringside/scrape/placement"
)

// simulated is a fleet whose sidecar answers as a real one does.
type simulated struct {
	config  string
	members []fleetMember
	settled bool
	targets []scrape.Target
}

// newSimulated has three active members in two zones that share 2,500 targets
// of job one, of which two members scrape each of job two's 100, and all of
// which scrape the 10 of job all.
func newSimulated() *simulated {
	s := &simulated{
		config:  "cluster: {name: prod}\nscrape: {replicas: 1, jobs: [{job: two, replicas: 2}, {job: all, everywhere: true}]}\n",
		settled: true,
	}
	for i, zone := range []string{"a", "b", "b"} {
		s.members = append(s.members, fleetMember{Name: fmt.Sprintf("m-%d", i), Zone: zone, State: scrape.Active, Series: 10_000})
	}
	for job, n := range map[string]int{"one": 2500, "two": 100, "all": 10} {
		for i := range n {
			s.targets = append(s.targets, scrape.Target{Job: job, Key: fmt.Sprintf("%s;%d", job, i), Labels: labels.EmptyLabels(), Everywhere: job == "all"})
		}
	}
	s.own()
	return s
}

// own gives every target the owners that the members make for it.
func (s *simulated) own() {
	var list []placement.Member
	for _, m := range s.members {
		if m.State == scrape.Active {
			list = append(list, placement.Member{Name: m.Name, Zone: m.Zone, Capacity: m.CapacitySeries})
		}
	}
	members := placement.NewMembers(list)
	for i := range s.targets {
		t := &s.targets[i]
		n := map[string]int{"one": 1, "two": 2, "all": len(list)}[t.Job]
		t.Owners = nil
		for _, o := range placement.Assign(members, n, []uint64{placement.Key(t.Key)}, nil) {
			t.Owners = append(t.Owners, members.At(int(o)).Name)
		}
	}
}

func (s *simulated) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var data any
	switch r.URL.Path {
	case "/api/v1/status/cluster":
		data = map[string]any{"cluster": "prod", "self": "m-0", "settled": s.settled, "unsettled": "m-2 is joining", "members": s.members}
	case "/api/v1/status/config":
		data = map[string]any{"yaml": s.config}
	case "/api/v1/status/targets":
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		per, _ := strconv.Atoi(r.URL.Query().Get("per_page"))
		from := min((page-1)*per, len(s.targets))
		data = map[string]any{"total": len(s.targets), "targets": s.targets[from:min(from+per, len(s.targets))]}
	default:
		http.NotFound(w, r)
		return
	}
	if err := json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": data}); err != nil {
		panic(err)
	}
}

// run runs ringside simulate with these flags.
func (s *simulated) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	srv := httptest.NewServer(s)
	defer srv.Close()
	config := writeFile(t, t.TempDir(), "http.yml", "enable_http2: false\n")
	var out bytes.Buffer
	err := command(append([]string{"simulate", "--url=" + srv.URL, "--http.config.file=" + config}, args...), &out, &out)
	return out.String(), err
}

// result is run with --output=json.
func (s *simulated) result(t *testing.T, args ...string) simulation {
	t.Helper()
	out, err := s.run(t, append(args, "--output=json")...)
	if err != nil {
		t.Fatalf("simulate %s: %v", args, err)
	}
	var r simulation
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("simulate %s prints %q: %v", args, out, err)
	}
	return r
}

func (r simulation) member(t *testing.T, name string) simulatedMember {
	t.Helper()
	i := slices.IndexFunc(r.Members, func(m simulatedMember) bool { return m.Name == name })
	if i < 0 {
		t.Fatalf("no member %s in %v", name, r.Members)
	}
	return r.Members[i]
}

// TestSimulateIsWhatHappens compares a simulation with the owners that the
// changed members then make.
func TestSimulateIsWhatHappens(t *testing.T) {
	for _, tc := range []struct {
		args   []string
		change func(*simulated)
	}{
		{[]string{"--add=m-3@a"}, func(s *simulated) {
			s.members = append(s.members, fleetMember{Name: "m-3", Zone: "a", State: scrape.Active})
		}},
		{[]string{"--remove=m-1"}, func(s *simulated) { s.members[1].State = scrape.Left }},
		{[]string{"--add=m-3@c", "--remove=m-0"}, func(s *simulated) {
			s.members[0].State = scrape.Dead
			s.members = append(s.members, fleetMember{Name: "m-3", Zone: "c", State: scrape.Active})
		}},
		{[]string{"--capacity=m-0=1000", "--capacity=m-1=2000", "--capacity=m-2=3000"}, func(s *simulated) {
			for i := range s.members {
				s.members[i].CapacitySeries = int64(1000 * (i + 1))
			}
		}},
	} {
		s := newSimulated()
		before := map[string][]string{}
		for _, target := range s.targets {
			before[target.Key] = target.Owners
		}
		r := s.result(t, tc.args...)
		if r.Targets != 2610 || r.Differing != 0 || r.Moved == 0 {
			t.Errorf("%s: %d targets, %d moved, %d with other owners now", tc.args, r.Targets, r.Moved, r.Differing)
		}
		tc.change(s)
		s.own()
		moved, after := 0, map[string]int{}
		for _, target := range s.targets {
			if !target.Everywhere && !sameNames(target.Owners, before[target.Key]) {
				moved++
			}
			for _, name := range target.Owners {
				after[name]++
			}
		}
		if moved != r.Moved {
			t.Errorf("%s: says that %d move; %d did", tc.args, r.Moved, moved)
		}
		for _, m := range r.Members {
			if m.Targets.After != after[m.Name] || m.Targets.After != m.Targets.Before+m.Gained-m.Lost {
				t.Errorf("%s: %+v; it has %d", tc.args, m, after[m.Name])
			}
		}
	}
}

func TestSimulateJoin(t *testing.T) {
	r := newSimulated().result(t, "--add=m-3@a")
	joiner := r.member(t, "m-3")
	if r.Strays != 0 || joiner.Change != "added" || joiner.Gained != joiner.Targets.After || joiner.Gained-10 != r.Moved {
		t.Errorf("%d strays, %d moved; the joiner: %+v", r.Strays, r.Moved, joiner)
	}
	var series int64
	for _, m := range r.Members {
		series += m.Series.After
	}
	if joiner.Series.After < 5000 || series < 29_000 || series > 31_000 {
		t.Errorf("%d series for the joiner, %d in all; want a fair share of about 30000: %+v", joiner.Series.After, series, r.Members)
	}
	if r.Imbalance.Before < 1 || r.Imbalance.Before > 1.2 || r.Imbalance.After < 1 || r.Imbalance.After > 1.2 {
		t.Errorf("imbalance %+v", r.Imbalance)
	}
}

// TestSimulateReplicas wants a job's own replicas to stay as they are.
func TestSimulateReplicas(t *testing.T) {
	r := newSimulated().result(t, "--replicas=2")
	if r.Moved != 2500 || r.Strays != 0 {
		t.Errorf("%d moved, %d strays; want the 2500 of job one, which get one owner more, and none", r.Moved, r.Strays)
	}
}

// TestSimulateManyReplicas asks a sidecar whose replicas nobody has bounded.
func TestSimulateManyReplicas(t *testing.T) {
	s := newSimulated()
	s.config = "scrape: {replicas: 2000000000}\n"
	if r := s.result(t, "--remove=m-2"); r.member(t, "m-0").Targets.After != 2610 || r.member(t, "m-1").Targets.After != 2610 {
		t.Errorf("%+v; want each of two to have all", r.Members)
	}
}

func TestSimulateNotes(t *testing.T) {
	s := newSimulated()
	s.members[2].State = scrape.Joining
	s.settled = false
	out, err := s.run(t, "--replicas=3", "--capacity=m-0=100")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"cluster prod, as m-0 sees it: 2610 targets",
		"note: the cluster is not settled: m-2 is joining",
		" targets have other owners now than the active members give",
		"note: m-2 is joining, and owns nothing",
		"note: replicas: 3, but 2 members: each target is scraped by 2",
		"note: 1 of 2 members give a capacity",
		"note: m-0 would hold about ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("prints\n%s\nwant %q", out, want)
		}
	}
	// A joiner keeps the zone it has.
	if r := s.result(t, "--add=m-2"); r.member(t, "m-2").Zone != "b" || r.member(t, "m-2").Gained == 0 {
		t.Errorf("the joiner: %+v", r.member(t, "m-2"))
	}
}

func TestSimulateRefuses(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"", "nothing to simulate"},
		{"--remove=x", `--remove: "x" owns nothing; members that do: m-0, m-1, m-2`},
		{"--remove=m-0 --remove=m-0", `"m-0" owns nothing`},
		{"--add=m-0", `"m-0" is a member already`},
		{"--add=m-0 --remove=m-0", `--add: "m-0" is to be removed too, and a change cannot do both`},
		{"--add=x --add=x@a", `"x" is a member already`},
		{"--add=@a", "give NAME, or NAME@ZONE"},
		{"--remove=m-0 --remove=m-1 --remove=m-2", "nobody would be left"},
		{"--replicas=-1", `--replicas: "-1"; give 1 or more, for at least 1 member`},
		{"--replicas=0", `--replicas: "0"; give 1 or more`},
		{"--replicas=0 --add=x", `--replicas: "0"; give 1 or more`},
		{"--replicas=two", `--replicas: "two"; give 1 or more`},
		{"--replicas=101", `--replicas: "101"; give 1 or more, for at least 1 member must scrape each target, and 100 at most`},
		{"--capacity=m-0=lots", "give a number of series"},
		{"--capacity=x=1", `"x" is no member after the change; members: m-0`},
		{"--output=xml --add=x", "must be one of text,json"},
	} {
		if _, err := newSimulated().run(t, strings.Fields(tc.args)...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v; want %q", tc.args, err, tc.want)
		}
	}
	s := newSimulated()
	s.config = "scrape: ["
	if _, err := s.run(t, "--add=x"); err == nil || !strings.Contains(err.Error(), "read the sidecar's configuration") {
		t.Errorf("configuration that does not parse: %v", err)
	}
}
