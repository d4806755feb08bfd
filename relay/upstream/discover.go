package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringside-project/ringside/relay/hashring"
)

const (
	filePoll      = 15 * time.Second
	writeTime     = 100 * time.Millisecond // a file may be half written at the first event
	maxFile       = 16 << 20               // bytes
	dnsInterval   = 30 * time.Second
	lookupTimeout = 5 * time.Second
)

// resolver is the part of net.Resolver that is needed.
type resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// source is where the endpoints come from, and what was last found there.
type source struct {
	dns     resolver
	answers map[string][]hashring.Endpoint // of each dnssrv+ endpoint, the last good ones
	placed  []hashring.Endpoint            // if there is no file
	text    string                         // of the file, as last read
	good    prometheus.Gauge               // if there is a file

	mu       sync.Mutex
	loadedAt time.Time // of the file in use
	err      string    // why what is there now could not be used
}

// discover finds the endpoints for a start. Names are left for Run to resolve.
func (u *Upstream) discover() error {
	s := &u.source
	s.dns, s.answers = net.DefaultResolver, map[string][]hashring.Endpoint{}
	if u.config.Hashring.File != "" {
		s.good = u.options.Metrics.reloaded.WithLabelValues(u.config.Name)
		return u.loadFile()
	}
	if slices.ContainsFunc(u.config.Endpoints, Endpoint.named) {
		u.placement.Store(&placement{missing: "its endpoints have not been resolved yet"})
		return nil
	}
	return u.placeFixed()
}

// named tells whether the endpoint is to be resolved.
func (e Endpoint) named() bool { return strings.HasPrefix(e.Address, srvPrefix) }

// keepDiscovering watches the hashring file, or resolves names, until ctx ends.
func (u *Upstream) keepDiscovering(ctx context.Context) {
	switch {
	case u.config.Hashring.File != "":
		u.watchFile(ctx)
	case slices.ContainsFunc(u.config.Endpoints, Endpoint.named):
		u.keepResolving(ctx)
	default:
		<-ctx.Done()
	}
}

// watchFile looks at the file at every event in its directory, and every
// filePoll: a Kubernetes ConfigMap changes by a swap of a link beside it.
func (u *Upstream) watchFile(ctx context.Context) {
	var events chan fsnotify.Event
	var eventErrors chan error
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		defer watcher.Close()
		events, eventErrors = watcher.Events, watcher.Errors
		err = watcher.Add(filepath.Dir(u.config.Hashring.File))
	}
	if err != nil {
		level.Warn(u.options.Logger).Log("msg", "hashring file is polled only", "interval", filePoll, "err", err)
	}
	ticker := time.NewTicker(filePoll)
	defer ticker.Stop()
	var quiet <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			quiet = time.After(writeTime)
			continue
		case err := <-eventErrors:
			level.Warn(u.options.Logger).Log("msg", "watch of the hashring file", "err", err)
			continue
		case <-quiet:
		case <-ticker.C:
		}
		quiet = nil
		_ = u.loadFile() // noted there
	}
}

// loadFile uses the file if it has changed and can be used. Else the last good
// one stays.
func (u *Upstream) loadFile() error {
	text, err := readFile(u.config.Hashring.File)
	if err == nil && text == u.source.text {
		return nil
	}
	if err == nil {
		err = u.useFile(text)
		u.source.text = text
	} else {
		u.source.text = "" // so that it is looked at once it can be read again
	}
	if err != nil {
		err = fmt.Errorf("hashring file %s: %w", u.config.Hashring.File, err)
	}
	u.note(err, err == nil)
	if err == nil {
		u.source.good.Set(1)
	} else {
		u.source.good.Set(0)
	}
	return err
}

func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("larger than %d bytes", maxFile)
	}
	return string(text), err
}

func (u *Upstream) useFile(text string) error {
	set, err := hashring.Parse([]byte(text), u.config.Hashring.algorithm(), u.config.ReplicationFactor)
	if err != nil {
		return err
	}
	return u.place(&placement{set: set}, set.Endpoints(), u.config.Hashring.expand)
}

// note keeps what came of a look at the source for the status, and logs what
// is new.
func (u *Upstream) note(err error, changed bool) {
	s := &u.source
	s.mu.Lock()
	defer s.mu.Unlock()
	before, text := s.err, ""
	if err != nil {
		text = err.Error()
	}
	s.err = text
	if text != "" && text != before {
		level.Error(u.options.Logger).Log("msg", "endpoints not found, those known before stay in use", "err", text)
	}
	if changed {
		s.loadedAt = time.Now()
		level.Info(u.options.Logger).Log("msg", "endpoints changed", "endpoints", len(u.placement.Load().members))
	}
}

func (s *source) status(file string) *hashringStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loadedAt.IsZero() && s.err == "" {
		return nil
	}
	return &hashringStatus{File: file, Loaded: timeOrNil(s.loadedAt), Error: s.err}
}

// keepResolving resolves the names at once and every dnsInterval.
func (u *Upstream) keepResolving(ctx context.Context) {
	ticker := time.NewTicker(dnsInterval)
	defer ticker.Stop()
	for {
		u.resolve(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// resolve looks up all names. One without an answer keeps its last.
func (u *Upstream) resolve(ctx context.Context) {
	var failures []error
	for _, e := range u.config.Endpoints {
		if !e.named() {
			continue
		}
		found, err := u.lookup(ctx, e)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		u.source.answers[e.Address] = found
	}
	if ctx.Err() != nil {
		return
	}
	old := u.placement.Load()
	err := errors.Join(append(failures, u.placeFixed())...)
	if u.placement.Load() == old && old.missing != "" && err != nil {
		u.placement.Store(&placement{missing: "no endpoints: " + err.Error()})
	}
	u.note(err, u.placement.Load().missing == "" && u.placement.Load() != old)
}

// lookup resolves one name into URLs.
func (u *Upstream) lookup(ctx context.Context, e Endpoint) ([]hashring.Endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	template, err := url.Parse(strings.TrimPrefix(e.Address, srvPrefix))
	if err != nil {
		return nil, errors.New("not a URL")
	}
	_, records, err := u.source.dns.LookupSRV(ctx, "", "", template.Hostname())
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", template.Hostname(), err)
	}
	var found []hashring.Endpoint
	for _, r := range records {
		at := *template
		at.Host = net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port)))
		found = append(found, hashring.Endpoint{Address: at.String(), AZ: e.AZ})
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("resolve %s: no records", template.Hostname())
	}
	return found, nil
}

// placeFixed uses the endpoints of the configuration, and those they resolve to.
func (u *Upstream) placeFixed() error {
	var all []hashring.Endpoint
	for _, e := range u.config.Endpoints {
		if e.named() {
			all = append(all, u.source.answers[e.Address]...)
		} else {
			all = append(all, hashring.Endpoint(e))
		}
	}
	slices.SortFunc(all, func(a, b hashring.Endpoint) int { return strings.Compare(a.Address, b.Address) })
	all = slices.CompactFunc(all, func(a, b hashring.Endpoint) bool { return a.Address == b.Address })
	if slices.Equal(all, u.source.placed) {
		return nil
	}
	whole, err := hashring.New(u.config.Hashring.algorithm(), all, u.config.ReplicationFactor)
	if err != nil {
		return err
	}
	asIs := func(address string) (string, error) { return address, nil }
	if err := u.place(&placement{whole: whole}, all, asIs); err != nil {
		return err
	}
	u.source.placed = all
	return nil
}
