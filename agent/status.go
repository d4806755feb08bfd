package agent

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ringside-project/ringside/gossip"
	"github.com/ringside-project/ringside/scrape"
)

// What bounds the targets of one answer.
const (
	defaultPerPage = 100
	maxPerPage     = 1000
	maxExplained   = 1000 // of targets that have one key, say
)

type clusterJSON struct {
	Cluster   string       `json:"cluster"`
	Self      string       `json:"self"`
	Settled   bool         `json:"settled"`
	Unsettled string       `json:"unsettled,omitempty"` // why, for a person
	View      string       `json:"view"`
	Known     bool         `json:"known"`
	Frozen    bool         `json:"frozen"` // fewer than min_members are alive
	Encrypted bool         `json:"encrypted"`
	Problems  []string     `json:"problems"`
	Members   []memberJSON `json:"members"`

	Moves []scrape.Move `json:"moves"` // the latest changes of owners as this member saw them, newest last
}

type memberJSON struct {
	Name            string       `json:"name"`
	Zone            string       `json:"zone"`
	Address         string       `json:"address"`
	HTTPAddress     string       `json:"http_address"`
	State           gossip.State `json:"state"`
	PrometheusReady bool         `json:"prometheus_ready"`
	Targets         int          `json:"targets"`
	Series          int64        `json:"series"`
	CapacitySeries  int64        `json:"capacity_series"`
	ConfigHash      string       `json:"config_hash"`
	View            string       `json:"view"`
	AppliedView     string       `json:"applied_view"`
	Version         string       `json:"version"`
}

func (h *handlers) serveCluster(w http.ResponseWriter, _ *http.Request) {
	h.succeed(w, h.clusterJSON())
}

func (s *state) clusterJSON() clusterJSON {
	snapshot, members := s.snapshot(), s.members()
	why := unsettled(members)
	status := s.scrape.Status()
	c := clusterJSON{
		Cluster:   s.cluster,
		Self:      snapshot.Self,
		Settled:   why == "",
		Unsettled: why,
		View:      hex(status.View),
		Known:     snapshot.Known,
		Frozen:    status.Frozen,
		Encrypted: snapshot.Encrypted,
		Problems:  append([]string{}, snapshot.Problems...),
		Members:   []memberJSON{},
		Moves:     append([]scrape.Move{}, status.Moves...),
	}
	for _, m := range members {
		c.Members = append(c.Members, memberJSON{
			Name:            m.Name,
			Zone:            m.Zone,
			Address:         m.Address,
			HTTPAddress:     m.HTTPAddress,
			State:           m.State,
			PrometheusReady: m.PrometheusReady,
			Targets:         m.Targets,
			Series:          m.Series,
			CapacitySeries:  m.CapacitySeries,
			ConfigHash:      hex(m.ConfigHash),
			View:            hex(m.View),
			AppliedView:     hex(m.AppliedView),
			Version:         m.Version,
		})
	}
	return c
}

type targetsJSON struct {
	Total   int             `json:"total"` // that the filters match
	Page    int             `json:"page"`
	PerPage int             `json:"per_page"`
	Targets []scrape.Target `json:"targets"`
}

func (h *handlers) serveTargets(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	page, err := whole(query, "page", 1, 1<<30)
	if err != nil {
		h.fail(w, http.StatusBadRequest, "bad_data", err.Error())
		return
	}
	perPage, err := whole(query, "per_page", defaultPerPage, maxPerPage)
	if err != nil {
		h.fail(w, http.StatusBadRequest, "bad_data", err.Error())
		return
	}
	targets, total := h.scrape.Status().Targets(scrape.Filter{
		Job: query.Get("job"), Owner: query.Get("owner"), Query: query.Get("q"), Page: page, Limit: perPage,
	})
	h.succeed(w, targetsJSON{Total: total, Page: page, PerPage: perPage, Targets: targets})
}

// whole reads a number from 1 to most.
func whole(query url.Values, name string, otherwise, most int) (int, error) {
	text := query.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("%s=%q: give a whole number from 1 to %d", name, text, most)
	}
	return n, nil
}

func (h *handlers) serveExplain(w http.ResponseWriter, r *http.Request) {
	target := r.URL.Query().Get("target")
	if target == "" {
		h.fail(w, http.StatusBadRequest, "bad_data", "target is missing: give an address, a scrape URL or a key, such as ?target=10.0.0.1:9100")
		return
	}
	h.succeed(w, h.scrape.Status().Explain(target, maxExplained))
}

type configJSON struct {
	YAML         string              `json:"yaml"` // in force, without secrets
	NeedsRestart []string            `json:"needs_restart"`
	LastError    string              `json:"last_error,omitempty"` // of the last reload
	Warnings     []string            `json:"warnings"`
	Source       scrape.SourceStatus `json:"source"`
}

func (h *handlers) serveConfig(w http.ResponseWriter, _ *http.Request) {
	status := h.config()
	text, err := status.inForce.Redacted()
	if err != nil {
		h.fail(w, http.StatusInternalServerError, "internal", err.Error())
		return
	}
	out := configJSON{
		YAML:         text,
		NeedsRestart: append([]string{}, status.needsRestart...),
		Warnings:     append([]string{}, status.inForce.Warnings()...),
		Source:       h.scrape.Status().Source,
	}
	if status.err != nil {
		out.LastError = status.err.Error()
	}
	h.succeed(w, out)
}
