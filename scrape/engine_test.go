package scrape

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/model/labels"
	"go.uber.org/goleak"

	"github.com/ringside-project/ringside/scrape/placement"
	"github.com/ringside-project/ringside/scrape/promconfig"
)

func TestMain(m *testing.M) {
	discovery.RegisterConfig(silent{})
	goleak.VerifyTestMain(m)
}

// rig is a whole Scrape with its files, beside a fake Prometheus, on a clock
// of its own. Files are polled only: events would come from outside the clock.
type rig struct {
	*Scrape
	t          *testing.T
	dir        string
	prometheus *fakePrometheus
	stop       func()
}

const twoJobs = `scrape_configs:
  - job_name: a
    static_configs: [{targets: ["10.0.0.1:80", "10.0.0.2:80"]}]
  - job_name: b
    static_configs: [{targets: ["10.0.0.3:80"]}]
`

// inRig runs test beside a Scrape that prepare may set up first.
func inRig(t *testing.T, prepare func(dir string), test func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, dir: t.TempDir(), prometheus: &fakePrometheus{up: true, lifecycle: true, config: "http://127.0.0.1:9591/api/v1/feedback"}}
		r.write("prometheus.yml", twoJobs)
		if prepare != nil {
			prepare(r.dir)
		}
		p := DefaultPrometheus
		p.SetDirectory(r.dir)
		cfg := Config{
			Node: "m0", ReplicaLabel: "prometheus_replica", MinMembers: 1, Prometheus: p, Sharding: DefaultSharding,
			FeedbackURL: "http://127.0.0.1:9591/api/v1/feedback",
		}
		s, err := New(cfg, log.NewNopLogger(), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		if s.source.events != nil {
			s.source.events.Close()
			s.source.events = nil
		}
		s.server.client = &http.Client{Transport: r.prometheus}
		r.Scrape = s
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		r.stop = func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
		defer func() { r.stop() }()
		test(r)
	})
}

func (r *rig) write(name, content string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// targets is the job's file, or what is wrong with it.
func (r *rig) targets(job string) string {
	content, err := os.ReadFile(filepath.Join(r.dir, "run", "targets", promconfig.TargetFileName(job)))
	if err != nil {
		return err.Error()
	}
	return string(content)
}

func (r *rig) run(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// scraped tells of a scrape of the target right now.
func (r *rig) scraped(job, instance string) {
	ls := labels.FromStrings("__name__", "up", "job", job, "instance", instance, "prometheus_replica", "m0")
	r.Observe([]Sample{{Labels: ls, Value: 1, Timestamp: time.Now().UnixMilli()}})
}

func TestFirstStart(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.prometheus.set(func(f *fakePrometheus) { f.up = false })
		r.run(time.Second)
		if got := r.targets("a"); got != "[]\n" {
			t.Errorf("before anything is known the file is %q", got)
		}
		generated, err := os.ReadFile(filepath.Join(r.dir, "run", "prometheus.yml"))
		if err != nil || !strings.Contains(string(generated), "prometheus_replica: m0") {
			t.Errorf("generated configuration: %v\n%s", err, generated)
		}
		if info, err := os.Stat(filepath.Join(r.dir, "run", "prometheus.yml")); err != nil || info.Mode().Perm() != writtenMode {
			t.Errorf("generated configuration has mode %v (%v)", info.Mode(), err)
		}

		r.prometheus.set(func(f *fakePrometheus) { f.up, f.loaded = true, time.Now().Add(2*time.Second) })
		r.run(5 * time.Second)
		if st := r.Status(); st.State != Joining || r.targets("a") != "[]\n" {
			t.Errorf("membership not known, yet %s and %s", st.State, r.targets("a"))
		}
		r.SetCluster(Cluster{Known: true})
		r.run(2 * time.Second)
		if st := r.Status(); st.State != Active || st.AppliedView != 0 || !strings.Contains(r.targets("a"), "10.0.0.2:80") {
			t.Errorf("%s, applied %x, file %s", st.State, st.AppliedView, r.targets("a"))
		}
		for _, instance := range []string{"10.0.0.1:80", "10.0.0.2:80"} {
			r.scraped("a", instance)
		}
		r.scraped("b", "10.0.0.3:80")
		r.run(2 * time.Second)
		if st := r.Status(); st.AppliedView == 0 || len(st.NotReady) != 0 {
			t.Errorf("all scraped, yet not ready: %v", st.NotReady)
		}
	})
}

func TestRestartLeavesTheFileUntilAllIsKnown(t *testing.T) {
	const old = "[\n{\"targets\":[\"10.0.0.1:80\",\"10.0.0.9:80\"],\"labels\":{}}\n]\n"
	var file string
	inRig(t, func(dir string) {
		file = filepath.Join(dir, "run", "targets", promconfig.TargetFileName("a"))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
	}, func(r *rig) {
		r.run(time.Minute)
		if got := r.targets("a"); got != old {
			t.Fatalf("rewritten before the membership was known: %s", got)
		}
		peer := Member{Name: "m1", State: Active, Jobs: map[uint64]JobView{JobID("a"): {View: 1}, JobID("b"): {View: 1}}}
		r.SetCluster(Cluster{Known: true, Members: []Member{peer}})
		r.run(5 * time.Second)
		if got := r.targets("a"); !strings.Contains(got, "10.0.0.1:80") || strings.Contains(got, "10.0.0.9:80") {
			t.Errorf("want what was scraped before and still exists, whoever owns it: %s", got)
		}
	})
}

func TestABadSourceKeepsTheLastGoodOne(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.SetCluster(Cluster{Known: true})
		r.run(10 * time.Second)
		before := r.targets("a")
		r.write("prometheus.yml", "scrape_configs:\n  - job_nam: a\n")
		r.run(10 * time.Second)
		st := r.Status()
		if st.Source.LastReloadOK || !strings.Contains(st.Source.LastError, "prometheus.yml:2") {
			t.Errorf("status says %+v", st.Source)
		}
		if r.targets("a") != before {
			t.Errorf("targets changed to %s", r.targets("a"))
		}
		r.write("prometheus.yml", twoJobs)
		r.run(10 * time.Second)
		if st := r.Status(); !st.Source.LastReloadOK || st.Source.LastError != "" {
			t.Errorf("good again, but %+v", st.Source)
		}
	})
}

func TestAChangedRuleFileReloadsPrometheus(t *testing.T) {
	inRig(t, func(dir string) {
		if err := os.Mkdir(filepath.Join(dir, "rules"), 0o700); err != nil {
			t.Fatal(err)
		}
	}, func(r *rig) {
		r.write("rules/a.yml", "groups: []\n")
		r.write("prometheus.yml", "rule_files: [rules/*.yml]\n"+twoJobs)
		r.SetCluster(Cluster{Known: true})
		for _, name := range []string{"rules/a.yml", "rules/b.yml"} { // one changes, one is new
			r.run(10 * time.Second)
			before := r.prometheus.reloads
			r.write(name, "groups: [{name: g, rules: []}]\n")
			r.run(10 * time.Second)
			if got := r.prometheus.reloads - before; got != 1 {
				t.Errorf("%s written: %d reloads", name, got)
			}
		}
	})
}

func TestASourceThatLosesAllJobsIsTakenForHalfWritten(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.SetCluster(Cluster{Known: true})
		r.run(5 * time.Second)
		r.write("prometheus.yml", "")
		r.run(20 * time.Second)
		if st := r.Status(); st.Source.LastReloadOK || !strings.Contains(r.targets("a"), "10.0.0.1:80") {
			t.Errorf("%+v, %s", st.Source, r.targets("a"))
		}
	})
}

func TestAFileThatIsNotOursIsNotOverwritten(t *testing.T) {
	const theirs = "global: {}\n"
	inRig(t, func(dir string) {
		if err := errors.Join(os.Mkdir(filepath.Join(dir, "run"), 0o700), os.WriteFile(filepath.Join(dir, "run", "prometheus.yml"), []byte(theirs), 0o600)); err != nil {
			t.Fatal(err)
		}
	}, func(r *rig) {
		r.SetCluster(Cluster{Known: true})
		r.run(10 * time.Second)
		content, err := os.ReadFile(filepath.Join(r.dir, "run", "prometheus.yml"))
		if st := r.Status(); err != nil || string(content) != theirs || !strings.Contains(st.Source.LastError, "generated_config_file") {
			t.Errorf("%v: %s; %+v", err, content, st.Source)
		}
	})
}

func TestReloadGivesTheReasonAndKeepsTheOptions(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.SetCluster(Cluster{Known: true})
		r.run(5 * time.Second)
		everywhere := Sharding{Replicas: 1, Jobs: []JobSharding{{Job: "a", Everywhere: true}, {Job: "nosuch"}}}
		if err := r.Reload(r.t.Context(), everywhere); err != nil {
			t.Fatal(err)
		}
		r.run(2 * time.Second)
		if st := r.Status(); !st.Jobs[0].Everywhere || !strings.Contains(strings.Join(st.Source.Warnings, "\n"), "nosuch") {
			t.Errorf("jobs %+v, warnings %v", st.Jobs, st.Source.Warnings)
		}
		r.write("prometheus.yml", "global: [")
		if err := r.Reload(r.t.Context(), DefaultSharding); err == nil || !strings.Contains(err.Error(), "prometheus.yml") {
			t.Errorf("error %v, want one that names the file", err)
		}
		r.run(2 * time.Second)
		if st := r.Status(); !st.Jobs[0].Everywhere {
			t.Error("the options of a refused reload are in force")
		}
	})
}

func TestTheFileOfARemovedJobGoesOnceItIsNotRead(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.SetCluster(Cluster{Known: true})
		r.run(5 * time.Second)
		r.prometheus.set(func(f *fakePrometheus) { f.refuses = "not now" })
		r.write("prometheus.yml", strings.Split(twoJobs, "  - job_name: b")[0])
		r.run(20 * time.Second)
		if got := r.targets("b"); !strings.Contains(got, "10.0.0.3:80") {
			t.Errorf("Prometheus still reads the file, but it holds: %s", got)
		}
		r.prometheus.set(func(f *fakePrometheus) { f.refuses = "" })
		r.run(10 * time.Second)
		if got := r.targets("b"); !strings.Contains(got, "no such file") {
			t.Errorf("the file is still there: %s", got)
		}
	})
}

func TestDiskTroubleKeepsTheLastGoodFileAndEnds(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.SetCluster(Cluster{Known: true})
		r.run(5 * time.Second)
		dir, away := filepath.Join(r.dir, "run"), filepath.Join(r.dir, "away")
		if err := os.Rename(dir, away); err != nil {
			t.Fatal(err)
		}
		r.write("run", "in the way of the directory")
		r.write("prometheus.yml", strings.ReplaceAll(twoJobs, "10.0.0.3", "10.0.0.4"))
		r.run(10 * time.Second)
		if st := r.Status(); st.Source.LastReloadOK || st.Source.LastError == "" || testutil.ToFloat64(r.metrics.fileErrors) == 0 {
			t.Errorf("nobody is told: %+v", st.Source)
		}
		if err := errors.Join(os.Remove(dir), os.Rename(away, dir)); err != nil {
			t.Fatal(err)
		}
		if got := r.targets("b"); !strings.Contains(got, "10.0.0.3:80") {
			t.Errorf("the last good file is gone: %s", got)
		}
		r.run(10 * time.Second)
		if got := r.targets("b"); !strings.Contains(got, "10.0.0.4:80") {
			t.Errorf("it does not recover by itself: %s", got)
		}
		if st := r.Status(); !st.Source.LastReloadOK || st.Source.LastError != "" {
			t.Errorf("still complains: %+v", st.Source)
		}
	})
}

func TestNewRulesMustBeSeenToBeApplied(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.SetCluster(Cluster{Known: true})
		r.run(5 * time.Second)
		r.scraped("a", "10.0.0.1:80")
		r.scraped("a", "10.0.0.2:80")
		r.run(2 * time.Second)
		before := r.Status().Facts.Jobs[JobID("a")]
		if before.Applied == 0 {
			t.Fatal("not applied to begin with")
		}
		r.write("prometheus.yml", strings.Replace(twoJobs, "  - job_name: b", "    relabel_configs: [{target_label: team, replacement: x}]\n  - job_name: b", 1))
		for range 200 {
			r.run(100 * time.Millisecond)
			if j := r.Status().Facts.Jobs[JobID("a")]; j.View != before.View && j.Applied != 0 {
				t.Fatal("says that it has applied the new rules, and no target with the new label was seen")
			}
		}
	})
}

func TestATargetWithANewKeyStaysUntilItsOwnerConfirms(t *testing.T) {
	members := placement.NewMembers([]placement.Member{{Name: "m0"}, {Name: "m1"}})
	key := "k"
	for members.At(members.Order(placement.Key(key))[0]).Name != "m1" {
		key += "k"
	}
	inRig(t, nil, func(r *rig) {
		r.SetCluster(Cluster{Known: true})
		r.run(5 * time.Second) // holds all
		peer := Member{Name: "m1", State: Active, Jobs: map[uint64]JobView{JobID("a"): {View: 1}, JobID("b"): {View: 1}}}
		r.SetCluster(Cluster{Known: true, Members: []Member{peer}})
		r.run(5 * time.Second)
		r.write("prometheus.yml", strings.Replace(twoJobs, "  - job_name: b", "    relabel_configs: [{target_label: __tmp_hash, replacement: "+key+"}]\n  - job_name: b", 1))
		r.run(20 * time.Second)
		if got := r.targets("a"); !strings.Contains(got, "10.0.0.1:80") || !strings.Contains(got, "10.0.0.2:80") {
			t.Errorf("dropped, though m1 still has the old rules: %s", got)
		}
	})
}

func TestTheFileServesTheRulesThatPrometheusRunsWith(t *testing.T) {
	const source = `scrape_configs:
  - job_name: a
    static_configs: [{targets: ["10.0.0.1:80"], labels: {__meta_env: prod}}]
`
	inRig(t, nil, func(r *rig) {
		r.write("prometheus.yml", source)
		r.SetCluster(Cluster{Known: true})
		r.run(10 * time.Second)
		var told string
		r.prometheus.set(func(f *fakePrometheus) { f.onReload = func() { told = r.targets("a") } })
		r.write("prometheus.yml", source+"    relabel_configs: [{source_labels: [__meta_env], regex: prod, action: keep}]\n")
		r.run(20 * time.Second)
		if !strings.Contains(told, "__meta_env") {
			t.Errorf("Prometheus was told to load a rule that keeps by __meta_env while its file was: %s", told)
		}
		r.prometheus.set(func(f *fakePrometheus) { f.refuses = "no" })
		r.write("prometheus.yml", source)
		r.run(20 * time.Second)
		if got := r.targets("a"); !strings.Contains(got, "__meta_env") {
			t.Errorf("Prometheus refuses the new rules, and drops all by the old ones with the file: %s", got)
		}
		r.prometheus.set(func(f *fakePrometheus) { f.refuses = "" })
		r.run(20 * time.Second)
		if got := r.targets("a"); strings.Contains(got, "__meta_env") {
			t.Errorf("nothing reads __meta_env any more, but it is in the file: %s", got)
		}
	})
}

func TestARestartWithOtherRulesWritesTheFilesFirst(t *testing.T) {
	const source = `scrape_configs:
  - job_name: a
    static_configs: [{targets: ["10.0.0.1:80"], labels: {__meta_env: prod}}]
    relabel_configs: [{source_labels: [__meta_env], regex: prod, action: keep}]
`
	inRig(t, func(dir string) {
		if err := os.MkdirAll(filepath.Join(dir, "run", "targets"), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string]string{
			"prometheus.yml":     source,
			"run/prometheus.yml": promconfig.GeneratedMark + " from other rules\n",
			"run/targets/" + promconfig.TargetFileName("a"): "[{\"targets\":[\"10.0.0.1:80\"],\"labels\":{}}]\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}, func(r *rig) {
		var told string
		r.prometheus.set(func(f *fakePrometheus) { f.onReload = func() { told = r.targets("a") } })
		r.SetCluster(Cluster{Known: true})
		r.run(10 * time.Second)
		if !strings.Contains(told, "__meta_env") {
			t.Errorf("Prometheus was told to load a rule that keeps by __meta_env while its file was: %s", told)
		}
	})
}

func TestAJobThatPrometheusDoesNotKnowIsNotServed(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.SetCluster(Cluster{Known: true})
		r.run(5 * time.Second)
		r.prometheus.set(func(f *fakePrometheus) { f.refuses = "unknown field" })
		r.write("prometheus.yml", twoJobs+"  - job_name: c\n    static_configs: [{targets: ['10.0.0.5:80']}]\n")
		r.run(30 * time.Second)
		if _, serves := r.Status().Facts.Jobs[JobID("c")]; serves {
			t.Error("says that it serves a job of a configuration that its Prometheus has refused")
		}
		r.prometheus.set(func(f *fakePrometheus) { f.refuses = "" })
		r.run(30 * time.Second)
		if _, serves := r.Status().Facts.Jobs[JobID("c")]; !serves {
			t.Error("does not serve it now that Prometheus knows it")
		}
	})
}

func TestFilesThatSomebodyRemovesComeBack(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.SetCluster(Cluster{Known: true})
		r.run(5 * time.Second)
		for _, gone := range []string{"run/targets", "run/prometheus.yml", "run"} {
			if err := os.RemoveAll(filepath.Join(r.dir, gone)); err != nil {
				t.Fatal(err)
			}
			r.run(2 * pollInterval)
			if got := r.targets("a"); !strings.Contains(got, "10.0.0.1:80") {
				t.Errorf("%s removed: %s", gone, got)
			}
			if _, err := os.Stat(filepath.Join(r.dir, "run", "prometheus.yml")); err != nil {
				t.Errorf("%s removed: %v", gone, err)
			}
		}
	})
}

func TestWhatEarlierRunsLeftIsSwept(t *testing.T) {
	var dir string
	inRig(t, func(root string) {
		dir = filepath.Join(root, "run", "targets")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{promconfig.TargetFileName("gone"), "." + promconfig.TargetFileName("a") + "123", "mine.json"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("[]"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}, func(r *rig) {
		r.SetCluster(Cluster{Known: true})
		r.run(5 * time.Second)
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 3 {
			t.Errorf("want the files of the two jobs and mine.json, have %v (%v)", entries, err)
		}
	})
}

func TestADiscoveryThatIsSilentHoldsUpOnlyItsJob(t *testing.T) {
	const source = twoJobs + "  - job_name: silent\n    silent_sd_configs: [{option: x}]\n"
	inRig(t, func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
	}, func(r *rig) {
		r.SetCluster(Cluster{Known: true})
		r.run(syncTimeout / 2)
		if st := r.Status(); st.State != Joining {
			t.Errorf("%s, though a discovery may still answer", st.State)
		}
		r.run(syncTimeout)
		r.scraped("a", "10.0.0.1:80")
		r.scraped("a", "10.0.0.2:80")
		r.scraped("b", "10.0.0.3:80")
		r.run(2 * time.Second)
		if st := r.Status(); st.AppliedView == 0 || len(st.NotReady) != 0 {
			t.Errorf("not ready: %v", st.NotReady)
		}
	})
}

func TestUnreadyAndBack(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.SetCluster(Cluster{Known: true})
		r.run(5 * time.Second)
		r.prometheus.set(func(f *fakePrometheus) { f.up = false })
		r.run(unreadyAfter - 500*time.Millisecond)
		if st := r.Status(); st.State != Active {
			t.Errorf("%s before its time", st.State)
		}
		r.run(2 * time.Second)
		if st := r.Status(); st.State != Unready || !strings.Contains(r.targets("a"), "10.0.0.1:80") {
			t.Errorf("%s, with %s", st.State, r.targets("a"))
		}
		r.prometheus.set(func(f *fakePrometheus) { f.up = true })
		r.run(2 * time.Second)
		if st := r.Status(); st.State != Active || len(st.NotReady) == 0 {
			t.Errorf("%s, not ready: %v; a restarted Prometheus must be seen to scrape anew", st.State, st.NotReady)
		}
	})
}

func TestDrainAlone(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.SetCluster(Cluster{Known: true})
		r.run(5 * time.Second)
		report, err := r.Drain(r.t.Context())
		if err != nil || !report.Alone || report.Targets != 3 || len(report.Unconfirmed) != 3 {
			t.Errorf("report %+v, error %v", report, err)
		}
	})
}

func TestDrainOutlivesASlowMoment(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		peer := Member{Name: "m1", State: Active, Jobs: map[uint64]JobView{}}
		r.SetCluster(Cluster{Known: true, Members: []Member{peer}})
		r.run(5 * time.Second)
		ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
		defer cancel()
		time.AfterFunc(2*time.Second, func() { r.prometheus.set(func(f *fakePrometheus) { f.up = false }) })
		time.AfterFunc(3200*time.Millisecond, func() { r.prometheus.set(func(f *fakePrometheus) { f.up = true }) })
		if report, err := r.Drain(ctx); !errors.Is(err, ErrUnconfirmed) {
			t.Errorf("1.2 s without an answer end the drain: %+v, %v", report, err)
		}
	})
}

func TestDrainTellsWhatWasNotConfirmedInTime(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		peer := Member{Name: "m1", State: Active, Jobs: map[uint64]JobView{}}
		r.SetCluster(Cluster{Known: true, Members: []Member{peer}})
		r.run(5 * time.Second)
		ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
		defer cancel()
		report, err := r.Drain(ctx)
		if !errors.Is(err, ErrUnconfirmed) || len(report.Unconfirmed) != 3 {
			t.Errorf("report %+v, error %v", report, err)
		}
		if st := r.Status(); st.State != Draining || !strings.Contains(r.targets("a"), "10.0.0.1:80") {
			t.Errorf("%s with %s; the files stay until Prometheus has gone", st.State, r.targets("a"))
		}
	})
}

func TestTargetsAndExplain(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.SetCluster(Cluster{Known: true})
		r.run(5 * time.Second)
		st := r.Status()
		for _, test := range []struct {
			filter Filter
			page   int
			total  int
		}{
			{Filter{Page: 1, Limit: 100}, 3, 3},
			{Filter{Page: 2, Limit: 2}, 1, 3},
			{Filter{Page: 3, Limit: 2}, 0, 3},
			{Filter{Page: 1, Limit: 100, Job: "b"}, 1, 1},
			{Filter{Page: 1, Limit: 100, Owner: "m0"}, 3, 3},
			{Filter{Page: 1, Limit: 100, Owner: "m1"}, 0, 0},
			{Filter{Page: 1, Limit: 100, Query: "0.0.2:8"}, 1, 1},
		} {
			page, total := st.Targets(test.filter)
			if len(page) != test.page || total != test.total {
				t.Errorf("%+v: %d of %d, want %d of %d", test.filter, len(page), total, test.page, test.total)
			}
		}
		if len(st.Moved) != 1 || st.Moved[0].Reason != FirstOwner || st.Moved[0].Moves != 3 {
			t.Errorf("moves from nobody: %+v", st.Moved)
		}
		for _, target := range []string{"10.0.0.2:80", "http://10.0.0.2:80/metrics", "a;http://10.0.0.2:80/metrics"} {
			got := st.Explain(target, 1000)
			if len(got) != 1 || got[0].Job != "a" || got[0].Owners[0] != "m0" || got[0].Phase != PhaseAdopting {
				t.Errorf("%s: %+v", target, got)
			}
		}
		if got := st.Explain("10.0.0.2:80", 0); len(got) != 0 {
			t.Errorf("more than asked for: %+v", got)
		}
		if got := st.Explain("nosuch", 1000); len(got) != 0 {
			t.Errorf("a target that is not there: %+v", got)
		}
	})
}
