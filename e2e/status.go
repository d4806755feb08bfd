package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// ClusterStatus is what a sidecar answers at /api/v1/status/cluster.
type ClusterStatus struct {
	Cluster string         `json:"cluster"`
	Self    string         `json:"self"`
	Settled bool           `json:"settled"`
	View    string         `json:"view"`
	Members []MemberStatus `json:"members"`
}

// MemberStatus is one member as a sidecar sees it.
type MemberStatus struct {
	Name            string `json:"name"`
	Zone            string `json:"zone"`
	Address         string `json:"address"`
	HTTPAddress     string `json:"http_address"`
	State           string `json:"state"` // joining, active, unready, draining, left, dead
	PrometheusReady bool   `json:"prometheus_ready"`
	Targets         int    `json:"targets"`
	Series          int64  `json:"series"`
	CapacitySeries  int64  `json:"capacity_series"`
	ConfigHash      string `json:"config_hash"`
	View            string `json:"view"`
	AppliedView     string `json:"applied_view"`
	Version         string `json:"version"`
}

// TargetStatus is one target as a sidecar sees it.
type TargetStatus struct {
	Job       string            `json:"job"`
	ScrapeURL string            `json:"scrape_url"`
	Labels    map[string]string `json:"labels"`
	Key       string            `json:"key"`
	Owners    []string          `json:"owners"`
	Local     bool              `json:"local"`
	Phase     string            `json:"phase"` // active, adopting, releasing, unowned
}

// Cluster asks the pair's sidecar for its members.
func (p *Pair) Cluster(ctx context.Context) (ClusterStatus, error) {
	var status ClusterStatus
	err := p.api(ctx, "/api/v1/status/cluster", &status)
	return status, err
}

// Targets asks the pair's sidecar for all targets, page by page.
func (p *Pair) Targets(ctx context.Context) ([]TargetStatus, error) {
	var all []TargetStatus
	for page := 1; ; page++ {
		var answer struct {
			Total   int            `json:"total"`
			Targets []TargetStatus `json:"targets"`
		}
		query := url.Values{"page": {strconv.Itoa(page)}, "per_page": {"1000"}}
		if err := p.api(ctx, "/api/v1/status/targets?"+query.Encode(), &answer); err != nil {
			return nil, err
		}
		all = append(all, answer.Targets...)
		if len(answer.Targets) == 0 || len(all) >= answer.Total {
			return all, nil
		}
	}
}

// Ask asks the pair's sidecar for path and returns the body of a 200.
func (p *Pair) Ask(ctx context.Context, path string) ([]byte, error) {
	return fetch(ctx, p.client, p.Sidecar.URL+path)
}

// api asks the pair's sidecar for path and unpacks the data of the envelope.
func (p *Pair) api(ctx context.Context, path string, data any) error {
	body, err := p.Ask(ctx, path)
	if err != nil {
		return err
	}
	var envelope struct {
		Status string          `json:"status"`
		Data   json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return fmt.Errorf("%s of %s: %w", path, p.Name, err)
	}
	if envelope.Status != "success" {
		return fmt.Errorf("%s of %s: status %q", path, p.Name, envelope.Status)
	}
	if err := json.Unmarshal(envelope.Data, data); err != nil {
		return fmt.Errorf("%s of %s: %w", path, p.Name, err)
	}
	return nil
}

// Metric returns the value of one series of the sidecar's own metrics, which is
// named as in the exposition: name or name{label="value"}.
func (p *Pair) Metric(ctx context.Context, series string) (float64, error) {
	body, err := p.Ask(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(body))
	lines.Buffer(nil, len(body)+1)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), series+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("metrics of %s: no %s", p.Name, series)
}

// Settled returns nil when the sidecars of exactly these pairs are active
// members, agree on one view and have applied it, as each of them says itself.
// Otherwise the error says what is missing.
func Settled(ctx context.Context, pairs []*Pair) error {
	view := ""
	for _, p := range pairs {
		status, err := p.Cluster(ctx)
		if err != nil {
			return err
		}
		var active []string
		for _, m := range status.Members {
			if m.State == "active" {
				active = append(active, m.Name)
			}
		}
		switch {
		case !status.Settled:
			return fmt.Errorf("%s is not settled: members %s", p.Name, describe(status.Members))
		case len(active) != len(pairs):
			return fmt.Errorf("%s sees %d active members, not %d: %s", p.Name, len(active), len(pairs), describe(status.Members))
		case view != "" && status.View != view:
			return fmt.Errorf("%s has view %s, others have %s", p.Name, status.View, view)
		}
		view = status.View
	}
	return nil
}

func describe(members []MemberStatus) string {
	var out []string
	for _, m := range members {
		out = append(out, fmt.Sprintf("%s %s view %s applied %s", m.Name, m.State, m.View, m.AppliedView))
	}
	return strings.Join(out, ", ")
}

// fetch returns the body of a 200; any other answer is an error that shows the
// body's start.
func fetch(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		short := body[:min(len(body), 300)]
		return nil, errors.New("get " + url + ": " + resp.Status + ": " + string(bytes.TrimSpace(short)))
	}
	return body, nil
}
