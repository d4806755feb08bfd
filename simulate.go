package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kingpin/v2"
	"go.yaml.in/yaml/v3"

	"github.com/ringside-project/ringside/scrape"
	"github.com/ringside-project/ringside/scrape/placement"
)

// simulateFlags are those of ringside simulate.
type simulateFlags struct {
	askFlags
	add      []string // NAME or NAME@ZONE
	remove   []string
	replicas replicas
	capacity map[string]string
	output   string
}

// replicas are those of --replicas; 0: as they are.
type replicas int

// Set reads the flag, so that a 0 that was given is not taken for none.
func (r *replicas) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > scrape.MaxReplicas {
		return fmt.Errorf("--replicas: %q; give 1 or more, for at least 1 member must scrape each target, and %d at most", text, scrape.MaxReplicas)
	}
	*r = replicas(n)
	return nil
}

func (r *replicas) String() string { return strconv.Itoa(int(*r)) }

func addSimulate(app *kingpin.Application) (*kingpin.CmdClause, *simulateFlags) {
	f := &simulateFlags{capacity: map[string]string{}}
	simulate := app.Command("simulate", "Tell what a change of members would move, before doing it: asks a running sidecar, changes nothing.")
	simulate.Flag("add", "A member that would come. May be given again.").PlaceHolder("NAME[@ZONE]").StringsVar(&f.add)
	simulate.Flag("remove", "A member that would go. May be given again.").PlaceHolder("NAME").StringsVar(&f.remove)
	simulate.Flag("replicas", "scrape.replicas; a job's own replicas stay.").PlaceHolder("N").SetValue(&f.replicas)
	simulate.Flag("capacity", "A member's capacity_series. May be given again.").PlaceHolder("NAME=N").StringMapVar(&f.capacity)
	simulate.Flag("output", "text or json.").Default("text").EnumVar(&f.output, "text", "json")
	f.askFlags.add(simulate)
	return simulate, f
}

// fleet is what a sidecar says of its cluster.
type fleet struct {
	Cluster   string
	Self      string
	Settled   bool
	Unsettled string
	Members   []fleetMember

	sharding scrape.Sharding
	targets  []scrape.Target
	total    int // targets that the sidecar counted when it was asked first
}

type fleetMember struct {
	Name           string       `json:"name"`
	Zone           string       `json:"zone"`
	State          scrape.State `json:"state"`
	Series         int64        `json:"series"`
	CapacitySeries int64        `json:"capacity_series"`
}

// simulateChange asks a sidecar for members and targets, and prints what a
// change would make of them.
func simulateChange(f simulateFlags, stdout io.Writer) error {
	if len(f.add)+len(f.remove)+len(f.capacity) == 0 && f.replicas == 0 {
		return errors.New("nothing to simulate: give --add, --remove, --replicas or --capacity")
	}
	s, err := f.sidecar()
	if err != nil {
		return err
	}
	now, err := askFleet(s)
	if err != nil {
		return err
	}
	members, err := now.changed(f)
	if err != nil {
		return err
	}
	after := now.sharding
	if f.replicas > 0 {
		after.Replicas = int(f.replicas)
	}
	result := simulate(now, members, after)
	if f.output == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(result)
	}
	return result.print(stdout)
}

// askFleet reads all that decides who owns what.
func askFleet(s *sidecar) (*fleet, error) {
	f := &fleet{}
	if err := s.ask("/api/v1/status/cluster", f); err != nil {
		return nil, err
	}
	var config struct{ YAML string }
	if err := s.ask("/api/v1/status/config", &config); err != nil {
		return nil, err
	}
	part := struct{ Scrape scrape.Sharding }{scrape.DefaultSharding}
	if err := yaml.Unmarshal([]byte(config.YAML), &part); err != nil {
		return nil, fmt.Errorf("read the sidecar's configuration: %w", err)
	}
	f.sharding = part.Scrape
	for page := 1; ; page++ {
		var part struct {
			Total   int
			Targets []scrape.Target
		}
		if err := s.ask("/api/v1/status/targets?per_page=1000&page="+strconv.Itoa(page), &part); err != nil {
			return nil, err
		}
		if page == 1 {
			f.total = part.Total
		}
		f.targets = append(f.targets, part.Targets...)
		if len(part.Targets) == 0 || len(f.targets) >= part.Total {
			return f, nil
		}
	}
}

// owners are those that may own targets.
func (f *fleet) owners() []placement.Member {
	var list []placement.Member
	for _, m := range f.Members {
		if m.State == scrape.Active {
			list = append(list, placement.Member{Name: m.Name, Zone: m.Zone, Capacity: m.CapacitySeries})
		}
	}
	return list
}

// changed returns who may own targets after the change that the flags ask for.
func (f *fleet) changed(flags simulateFlags) ([]placement.Member, error) {
	list := f.owners()
	at := func(name string) int {
		return slices.IndexFunc(list, func(m placement.Member) bool { return m.Name == name })
	}
	for _, name := range flags.remove {
		i := at(name)
		if i < 0 {
			return nil, fmt.Errorf("--remove: %q owns nothing; members that do: %s", name, nameList(list))
		}
		list = slices.Delete(list, i, i+1)
	}
	for _, text := range flags.add {
		name, zone, zoned := strings.Cut(text, "@")
		switch {
		case name == "":
			return nil, fmt.Errorf("--add: %q; give NAME, or NAME@ZONE", text)
		case slices.Contains(flags.remove, name):
			return nil, fmt.Errorf("--add: %q is to be removed too, and a change cannot do both; give one of the two", name)
		case at(name) >= 0:
			return nil, fmt.Errorf("--add: %q is a member already", name)
		}
		if i := slices.IndexFunc(f.Members, func(m fleetMember) bool { return m.Name == name }); i >= 0 && !zoned {
			zone = f.Members[i].Zone // joining, say
		}
		list = append(list, placement.Member{Name: name, Zone: zone})
	}
	for name, text := range flags.capacity {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("--capacity: %s=%s; give a number of series, or 0 for none", name, text)
		}
		i := at(name)
		if i < 0 {
			return nil, fmt.Errorf("--capacity: %q is no member after the change; members: %s", name, nameList(list))
		}
		list[i].Capacity = n
	}
	if len(list) == 0 {
		return nil, errors.New("nobody would be left to scrape: --add someone too")
	}
	return list, nil
}

func nameList(list []placement.Member) string {
	names := make([]string, len(list))
	for i, m := range list {
		names[i] = m.Name
	}
	return strings.Join(names, ", ")
}

// print writes a simulation for a person.
func (r *simulation) print(stdout io.Writer) error {
	fmt.Fprintf(stdout, "cluster %s, as %s sees it: %d targets\n\n", r.Cluster, r.Asked, r.Targets)
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "member\tzone\ttargets\tafter\tgained\tlost\tseries\tafter, about")
	for _, m := range r.Members {
		name := m.Name
		if m.Change != "" {
			name += " (" + m.Change + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\n", name, m.Zone, m.Targets.Before, m.Targets.After, m.Gained, m.Lost, m.Series.Before, m.Series.After)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\n%d of %d targets would get other owners, %d of them by going from a member that stays to another that stays.\n", r.Moved, r.Targets, r.Strays)
	_, err := fmt.Fprintf(stdout, "The most loaded member has %.2f times its share of the targets, and would have %.2f times.\n", r.Imbalance.Before, r.Imbalance.After)
	for _, note := range r.Notes {
		_, err = fmt.Fprintf(stdout, "note: %s\n", note)
	}
	return err
}
