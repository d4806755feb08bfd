package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ringside-project/ringside/scrape"
)

// explainFlags are those of ringside explain.
type explainFlags struct {
	askFlags
	target string
}

func addExplain(app *kingpin.Application) (*kingpin.CmdClause, *explainFlags) {
	f := &explainFlags{}
	explain := app.Command("explain", "Tell who scrapes a target, why, and who is next.")
	explain.Arg("TARGET", "An address, a scrape URL or a key, as /api/v1/status/targets shows them.").Required().StringVar(&f.target)
	f.askFlags.add(explain)
	return explain, f
}

// explainTarget asks a running sidecar about a target, and prints the answer
// for a person. That there is no such target is an error.
func explainTarget(f explainFlags, stdout io.Writer) error {
	s, err := f.sidecar()
	if err != nil {
		return err
	}
	var list []scrape.Explanation
	if err := s.ask("/api/v1/explain?target="+url.QueryEscape(f.target), &list); err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("no target has the address, scrape URL or key %q; %s/api/v1/status/targets?q= finds by a part of them", f.target, s.url)
	}
	for i, e := range list {
		if i > 0 {
			fmt.Fprintln(stdout)
		}
		if err := printExplanation(e, stdout); err != nil {
			return err
		}
	}
	return nil
}

func printExplanation(e scrape.Explanation, stdout io.Writer) error {
	fmt.Fprintf(stdout, "%s of job %s\n", e.ScrapeURL, e.Job)
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	for _, row := range []struct{ name, value string }{
		{"owners", cmp.Or(strings.Join(e.Owners, ", "), "nobody")},
		{"why", e.Why},
		{"next", heirs(e)},
		{"phase", e.Phase},
		{"waits for", strings.Join(e.Pending, ", ")},
		{"key", e.Key},
		{"made from", e.KeyRule},
		{"labels", e.Labels.String()},
		{"found by", foundBy(e.Discovery)},
		{"view", e.View},
	} {
		if row.value != "" {
			fmt.Fprintf(w, "  %s\t%s\n", row.name, row.value)
		}
	}
	return w.Flush()
}

// heirs names for each owner who would take over from it.
func heirs(e scrape.Explanation) string {
	all := make([]string, min(len(e.Owners), len(e.Next)))
	for i := range all {
		all[i] = fmt.Sprintf("after %s: %s", e.Owners[i], cmp.Or(e.Next[i], "nobody is left"))
	}
	return strings.Join(all, "; ")
}

// foundBy names the target group's source. Those of static_configs have numbers alone.
func foundBy(source string) string {
	if _, err := strconv.ParseUint(source, 10, 64); err == nil {
		return "static_configs"
	}
	return source
}
