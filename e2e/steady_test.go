package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

func TestSteady(t *testing.T) {
	for _, replicas := range []int{1, 2} {
		t.Run(fmt.Sprintf("replicas %d", replicas), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, setup{pairs: 3, targets: 120, replicas: replicas})
			owners := r.up(r.Pairs...)
			files, from := r.written(), time.Now()
			r.watch(10 * interval)
			to := time.Now()

			seen := r.farm.Log().Between(from, to)
			if err := exactly(seen.Owners(), r.targets, replicas); err != nil {
				t.Error(err)
			}
			moved := movedTargets(owners, seen.Owners())
			if len(moved) > 0 {
				t.Errorf("%d targets moved: %v", len(moved), moved)
			}
			rewritten := changed(files, r.written())
			if len(rewritten) > 0 {
				t.Errorf("rewritten: %v", rewritten)
			}
			r.measured("%d targets, %d members, %s: %d missed, %d files rewritten, %d moved, %d scraped by more than %d",
				len(r.targets), len(r.Pairs), to.Sub(from).Round(time.Second), r.noneMissed(r.targets, from),
				len(rewritten), len(moved), len(seen.Doubled(replicas, interval)), replicas)
		})
	}
}

// written returns what there is to know about every file that the sidecars
// write, without reading it: its inode, size and time.
func (r *rig) written() map[string]string {
	r.Helper()
	files := map[string]string{}
	for _, p := range r.Pairs {
		err := filepath.WalkDir(filepath.Join(p.Dir, "run"), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			files[path], err = identity(path)
			return err
		})
		if err != nil {
			r.Error(err)
		}
	}
	return files
}

func identity(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	inode := info.Sys().(*syscall.Stat_t).Ino
	return fmt.Sprintf("inode %d, %d bytes, of %s", inode, info.Size(), info.ModTime().Format(time.RFC3339Nano)), nil
}

// changed returns the names that are not in both with one value, sorted.
func changed(before, after map[string]string) []string {
	names := map[string]bool{}
	for _, files := range []map[string]string{before, after} {
		for name := range files {
			if before[name] != after[name] {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func TestJoin(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{pairs: 4, targets: 120, replicas: 1})
	newcomer := r.Pairs[3]
	before := r.up(r.Pairs[:3]...)
	from := time.Now()
	after := r.up(newcomer)

	moved := movedTargets(before, after)
	if fair := len(r.targets) / 4; len(moved) == 0 || len(moved) > 2*fair {
		t.Errorf("%d targets moved, expected about %d", len(moved), fair)
	}
	for _, target := range moved {
		if !slices.Contains(after[target], newcomer.Name) {
			t.Errorf("%s moved from %v to %v, which is not the newcomer", target, before[target], after[target])
		}
	}
	doubled := r.farm.Log().Between(from, time.Now()).Doubled(1, interval)
	r.measured("3 members and 1 more: %d missed, settled %s after its start, %d of %d targets moved; scraped by two for: %s",
		r.noneMissed(r.targets, from), since(from), len(moved), len(r.targets), spread(doubled))
}

func TestTargetsComeAndGo(t *testing.T) {
	for _, discovery := range []string{"file_sd", "http_sd"} {
		t.Run(discovery, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, setup{pairs: 3, targets: 120, replicas: 1})
			all := r.targets
			stay, leave, come := all[:60], all[60:90], all[90:]
			if discovery == "http_sd" {
				if err := r.WriteFile("prometheus.yml", httpSource(interval, r.farm)); err != nil {
					t.Fatal(err)
				}
			}
			r.targets = all[:90]
			r.discover(r.targets)
			before := r.up(r.Pairs...)

			from := time.Now()
			r.targets = slices.Concat(stay, come)
			r.discover(r.targets)
			r.event("%d targets leave, %d come", len(leave), len(come))
			after := r.owners()
			missed := r.noneMissed(stay, from)
			for _, target := range stay {
				if !slices.Equal(before[target], after[target]) {
					t.Errorf("%s moved from %v to %v although it stayed", target, before[target], after[target])
				}
			}
			log := r.farm.Log().Between(from, time.Now())
			arrival := log.Since(from)
			maps.DeleteFunc(arrival, func(target string, _ time.Duration) bool { return !slices.Contains(come, target) })
			last := time.Duration(0)
			for _, s := range log {
				if slices.Contains(leave, s.Target) {
					last = s.Time.Sub(from)
				}
			}
			r.measured("%d stay: %d missed; %d come: scraped first after %s; %d leave: scraped last after %s",
				len(stay), missed, len(come), spread(arrival), len(leave), last.Round(10*time.Millisecond))
		})
	}
}

// targetsIn returns the addresses in a file_sd file.
func targetsIn(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var groups []struct{ Targets []string }
	if err := json.Unmarshal(text, &groups); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var targets []string
	for _, group := range groups {
		targets = append(targets, group.Targets...)
	}
	return targets, nil
}
