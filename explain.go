package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	commoncfg "github.com/prometheus/common/config"

	"github.com/ringside-project/ringside/scrape"
)

// explainFlags are those of ringside explain.
type explainFlags struct {
	target     string
	url        string
	httpConfig string // file; empty: defaults
}

// explainTarget asks a running sidecar about a target, and prints the answer
// for a person. That there is no such target is an error.
func explainTarget(f explainFlags, stdout io.Writer) error {
	list, err := askSidecar(f)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("no target has the address, scrape URL or key %q; %s/api/v1/status/targets?q= finds by a part of them", f.target, f.url)
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

func askSidecar(f explainFlags) ([]scrape.Explanation, error) {
	httpConfig := &commoncfg.DefaultHTTPClientConfig
	if f.httpConfig != "" {
		var err error
		if httpConfig, _, err = commoncfg.LoadHTTPConfigFile(f.httpConfig); err != nil {
			return nil, fmt.Errorf("read --http.config.file: %w", err)
		}
	}
	client, err := commoncfg.NewClientFromConfig(*httpConfig, "ringside-explain")
	if err != nil {
		return nil, fmt.Errorf("--http.config.file: %w", err)
	}
	client.Timeout = 30 * time.Second
	f.url = strings.TrimRight(f.url, "/")
	resp, err := client.Get(f.url + "/api/v1/explain?target=" + url.QueryEscape(f.target))
	if err != nil {
		return nil, fmt.Errorf("ask the sidecar: %w; is it running there? --url says where", err)
	}
	defer resp.Body.Close()
	var answer struct {
		Data  []scrape.Explanation
		Error string
	}
	err = json.NewDecoder(resp.Body).Decode(&answer)
	switch {
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("ask the sidecar: %s: %s", resp.Status, cmp.Or(answer.Error, "no reason given"))
	case err != nil:
		return nil, fmt.Errorf("ask the sidecar: read its answer: %w", err)
	}
	return answer.Data, nil
}

func printExplanation(e scrape.Explanation, stdout io.Writer) error {
	next := slices.DeleteFunc(slices.Clone(e.Order), func(name string) bool { return slices.Contains(e.Owners, name) })
	fmt.Fprintf(stdout, "%s of job %s\n", e.ScrapeURL, e.Job)
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	for _, row := range []struct{ name, value string }{
		{"owners", cmp.Or(strings.Join(e.Owners, ", "), "nobody")},
		{"why", e.Why},
		{"next", cmp.Or(strings.Join(next, ", "), "nobody")},
		{"phase", e.Phase},
		{"waits for", strings.Join(e.Pending, ", ")},
		{"key", e.Key},
		{"made from", e.KeyRule},
		{"labels", e.Labels.String()},
		{"found by", e.Discovery},
		{"view", e.View},
	} {
		if row.value != "" {
			fmt.Fprintf(w, "  %s\t%s\n", row.name, row.value)
		}
	}
	return w.Flush()
}
