package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
)

// replaceIn changes a pair's ringside.yml before its start.
func (r *rig) replaceIn(p *Pair, old, text string) {
	r.Helper()
	before, err := os.ReadFile(filepath.Join(p.Dir, "ringside.yml"))
	if err != nil {
		r.Fatal(err)
	}
	if !strings.Contains(string(before), old) {
		r.Fatalf("no %q in %s's ringside.yml", old, p.Name)
	}
	if err := p.WriteFile("ringside.yml", strings.Replace(string(before), old, text, 1)); err != nil {
		r.Fatal(err)
	}
}

// labelled is a file of file_sd in which targets have the labels of a real
// fleet, and some the labels more.
func labelled(targets []string, more map[string]string) string {
	apps := []string{"ledger", "payments", "search", "checkout", "mail"}
	var groups []map[string]any
	for i, target := range targets {
		labels := map[string]string{"app": apps[i%len(apps)], "env": "prod"}
		if i%10 == 0 {
			for name, value := range more {
				labels[name] = value
			}
		}
		groups = append(groups, map[string]any{"targets": []string{target}, "labels": labels})
	}
	text, err := json.Marshal(groups)
	if err != nil {
		panic(err) // strings always marshal
	}
	return string(text)
}

// The targets of the fleet in the pictures, as its Prometheus servers know them.
const (
	podTargets     = 48
	gatewayTargets = 12
	shopTargets    = podTargets + gatewayTargets
)

// shopTarget is the address of target i. It is on no machine: a proxy takes who
// scrapes it to the farm.
func shopTarget(i int) string { return fmt.Sprintf("10.20.%d.%d:9100", i/250, 1+i%250) }

// shopSource is fileSource with two jobs, discovered in two ways, and a proxy.
func shopSource(proxy string) string {
	var gateways []string
	for i := range gatewayTargets {
		gateways = append(gateways, shopTarget(podTargets+i))
	}
	job := "    proxy_url: http://" + proxy + "\n    http_headers:\n      X-Scraper: {files: [scraper.txt]}\n"
	return "global:\n  scrape_interval: " + interval.String() + "\n  scrape_timeout: " + interval.String() + "\n  external_labels: {fleet: prod}\n" +
		"scrape_configs:\n  - job_name: pods\n" + job + "    file_sd_configs: [{files: [sd/pods.json]}]\n" +
		"  - job_name: gateway\n" + job + "    static_configs: [{targets: ['" + strings.Join(gateways, "', '") + "'], labels: {app: gateway, env: prod}}]\n"
}

// newShop starts a fleet that has everything: zones, a key, a relay, uploads.
func newShop(t *testing.T) *rig {
	t.Helper()
	proxy := httptest.NewUnstartedServer(nil)
	t.Cleanup(proxy.Close)
	r := newRig(t, setup{pairs: 3, targets: shopTargets, replicas: 1, source: shopSource(proxy.Listener.Addr().String())})
	proxy.Config.Handler = &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		host, _, _ := net.SplitHostPort(p.In.Host)
		p.Out.URL.Host = net.JoinHostPort("127.7"+strings.TrimPrefix(host, "10.20"), r.farm.port)
	}}
	proxy.Start()
	receiver := r.prometheus(r.beside("receiver"), "{}\n")
	r.launch(receiver)
	r.relayTo("- name: central\n  endpoints: ['" + receiver.URL + "/api/v1/write']\n")
	for i, p := range r.Pairs {
		r.replaceIn(p, fmt.Sprintf("name: e2e-%d-%d", os.Getpid(), rigs.Load()), "name: prod/monitoring") // the pictures show it
		r.replaceIn(p, "cluster:\n", fmt.Sprintf("cluster:\n  zone: eu-1%c\n  key_file: gossip.key\n", 'a'+i))
		r.replaceIn(p, "prometheus:\n", "uploader:\n  bucket: {type: FILESYSTEM, config: {directory: ../blocks}}\nprometheus:\n")
		p.Prometheus.Command.Args = append(p.Prometheus.Command.Args, "--storage.tsdb.delay-compact-file.path=data/thanos.shipper.json")
		r.oldBlock(p, 6*time.Hour)
		r.oldBlock(p, 4*time.Hour)
	}
	var pods []string
	for i := range podTargets {
		pods = append(pods, shopTarget(i))
	}
	if err := errors.Join(r.WriteFile("sd/pods.json", labelled(pods, nil)), r.WriteFile("gossip.key", gossipKey()+"\n")); err != nil {
		t.Fatal(err)
	}
	r.up(r.Pairs...)
	return r
}

// oldBlock gives the pair, before its start, a block of two hours that began at
// least so long ago.
func (r *rig) oldBlock(p *Pair, ago time.Duration) {
	r.Helper()
	const span = 2 * time.Hour
	dir := filepath.Join(p.Dir, "data")
	w, err := tsdb.NewBlockWriter(slog.New(slog.DiscardHandler), dir, span.Milliseconds())
	if err != nil {
		r.Fatal(err)
	}
	defer w.Close()
	begin := time.Now().Add(-ago).Truncate(span)
	app := w.Appender(r.Context())
	for at := begin; at.Before(begin.Add(span)); at = at.Add(time.Minute) {
		for i := range podTargets {
			if _, err := app.Append(0, labels.FromStrings(model.MetricNameLabel, "up", "job", "pods", "instance", shopTarget(i)), at.UnixMilli(), 1); err != nil {
				r.Fatal(err)
			}
		}
	}
	if err := app.Commit(); err != nil {
		r.Fatal(err)
	}
	if _, err := w.Flush(r.Context()); err != nil {
		r.Fatal(err)
	}
}

// The status page of a fleet that has everything, in a real browser: healthy,
// searched with and without JavaScript, on a phone, while a member is slow; and
// when a pair is killed, and the page's own sidecar is.
func TestStatusPage(t *testing.T) {
	for name, steps := range map[string][]func(*rig, *browser){
		"healthy": {(*rig).pageHealthy, (*rig).pageSearch, (*rig).pageKeepsReader, (*rig).pagePhone, (*rig).pageSlow},
		"failing": {(*rig).pageKilled, (*rig).pageAlone},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBrowser(t)
			r := newShop(t)
			b.open(r.Pairs[0].Sidecar.URL)
			for _, step := range steps {
				step(r, b)
			}
		})
	}
}

// healthyLine is the verdict of a fleet in which nothing is wrong.
const healthyLine = "3/3 members agree · 60/60 targets owned · 0 hand-overs pending · uploads current · relay current"

func (r *rig) pageHealthy(b *browser) {
	r.event("pageHealthy")
	b.shows(time.Minute, "#verdict.good", healthyLine)
	for _, p := range r.Pairs {
		b.shows(10*time.Second, "#members", p.Name)
	}
	// The others are asked only once somebody looks.
	b.shows(10*time.Second, "#views", "3 members say the same of all")
	b.shows(10*time.Second, "#targets", "1–10 of 60 targets")
	for selector, want := range map[string]string{
		"#relay": "central", "#uploads": "FILESYSTEM", "#security": "encrypted", "#jobs": "gateway", "#moves": "owner",
	} {
		b.shows(10*time.Second, selector, want)
	}
	if links := eval[[]string](b, `[...document.querySelectorAll("#members a")].map((a) => a.href)`); !slices.Contains(links, r.Pairs[1].Sidecar.URL+"/") ||
		!slices.Contains(links, r.Pairs[1].Sidecar.URL+"/prometheus") {
		r.Errorf("links are %q; want those of %s", links, r.Pairs[1].Name)
	}
	b.shows(30*time.Second, "#uploads", "2 uploaded")
	if links := eval[[]string](b, `[...document.querySelectorAll("#found .owner a")].map((a) => a.href)`); !slices.Contains(links, r.Pairs[1].Sidecar.URL+"/") {
		r.Errorf("owners lead to %q; want the page of %s too", links, r.Pairs[1].Name)
	}
	b.run(chromedp.Navigate(r.Pairs[1].Sidecar.URL + "/prometheus"))
	if at := eval[string](b, `location.href`); !strings.HasPrefix(at, r.Pairs[1].Prometheus.URL) {
		r.Errorf("the link to a member's Prometheus leads to %s", at)
	}
	b.open(r.Pairs[0].Sidecar.URL)
	b.shows(10*time.Second, "#views", "3 members say the same of all")
	b.whole()
	b.shoot("status-healthy", "header", "#moves")
	b.click("#relay summary")
	b.shoot("status-parts", "#jobs", "#config")
	b.scheme("dark")
	b.shoot("status-dark", "header", "#moves")
	b.scheme("light")
}

func (r *rig) pageSearch(b *browser) {
	r.event("pageSearch")
	defer b.scripts(true)
	one, _, _ := net.SplitHostPort(shopTarget(7))
	for _, js := range []bool{true, false} {
		b.scripts(js)
		for query, want := range map[string]string{
			one + ":":        "1–1 of 1 targets",
			"app=payments":   "1–10 of 10 targets",
			"PODS":           "1–25 of 48 targets",
			"gateway":        "1–12 of 12 targets",
			"<no such thing": "No target matches <no such thing",
		} {
			b.open(r.Pairs[0].Sidecar.URL)
			b.enter("#q", query+"\r")
			b.shows(10*time.Second, "#found", want)
		}
		b.open(r.Pairs[0].Sidecar.URL + "/?q=" + one)
		b.click("#found summary .url")
		b.shows(10*time.Second, "#found details[open]", "Why here", "first in the order of its key", "On failure", "after pair-", "app=\"", "pods.json")
		b.open(r.Pairs[0].Sidecar.URL)
		b.click(`#found a[rel="next"]`)
		b.shows(10*time.Second, "#found", "11–20 of 60 targets")
	}
	b.scripts(true)
}

// pageKeepsReader checks that what the reader has done outlasts a refresh.
func (r *rig) pageKeepsReader(b *browser) {
	r.event("pageKeepsReader")
	one, _, _ := net.SplitHostPort(shopTarget(7))
	b.open(r.Pairs[0].Sidecar.URL + "/?q=" + one)
	b.click("#found summary .url")
	b.enter("#q", "half a wo")
	before := b.text("header time")
	r.await(20*time.Second, "refreshed", func() error {
		if b.text("header time") == before {
			return fmt.Errorf("it is still that of %s", before)
		}
		return nil
	})
	if got := eval[string](b, `document.querySelector("#q").value + "|" + document.activeElement.id + "|" + document.querySelector("#found details").open`); got != "half a wo"+one+"|q|true" {
		r.Errorf("after a refresh the reader finds %s", got)
	}
}

func (r *rig) pagePhone(b *browser) {
	r.event("pagePhone")
	b.window(390, 844, chromedp.EmulateMobile)
	defer b.window(1240, 900)
	b.open(r.Pairs[0].Sidecar.URL + "/?q=payments")
	b.shows(10*time.Second, "#views", "3 members say the same of all")
	b.fits()
	b.whole()
	b.click("#found summary .url")
	b.fits()
	if small := eval[float64](b, `Math.min(...[...document.querySelectorAll("main *")].filter((e) => e.innerText).map((e) => parseFloat(getComputedStyle(e).fontSize)))`); small < 11 {
		r.Errorf("the smallest text is of %v pixels", small)
	}
	b.open(r.Pairs[0].Sidecar.URL)
	b.shows(10*time.Second, "#views", "3 members say the same of all")
	b.shoot("status-phone", "header", "#moves")
}

func (r *rig) pageSlow(b *browser) {
	r.event("pageSlow")
	slow := r.Pairs[2].Sidecar
	b.open(r.Pairs[0].Sidecar.URL)
	b.shows(10*time.Second, "#views", "3 members say the same of all")
	if err := slow.Signal(syscall.SIGSTOP); err != nil {
		r.Fatal(err)
	}
	for range 5 {
		began := time.Now()
		if _, err := r.Pairs[0].Ask(r.Context(), "/"); err != nil || time.Since(began) > 800*time.Millisecond {
			r.Errorf("the page comes after %s (error: %v): it waits for the slow member", since(began), err)
		}
	}
	r.await(10*time.Second, "slow", func() error {
		b.open(r.Pairs[0].Sidecar.URL)
		if rows := b.text("#views tbody"); !strings.Contains(rows, "slow: no answer within 1s") {
			return fmt.Errorf("the rows are %q", rows)
		}
		return nil
	})
	if err := slow.Signal(syscall.SIGCONT); err != nil {
		r.Fatal(err)
	}
	r.settle(30*time.Second, r.Pairs...)
	b.shows(time.Minute, "#verdict.good", healthyLine)
}

func (r *rig) pageKilled(b *browser) {
	r.event("pageKilled")
	victim := r.Pairs[1]
	b.open(r.Pairs[0].Sidecar.URL)
	b.shows(10*time.Second, "#views", "3 members say the same of all")
	victim.Kill()
	killed := time.Now()
	b.shows(20*time.Second, "#verdict.bad", "2/3 members agree", "pair-1 is dead")
	r.measured("the page turned red %s after kill -9", since(killed))
	b.shows(10*time.Second, "#members tr.bad", "pair-1", "dead")
	b.shows(30*time.Second, "#moves", "crash", "pair-1")
	b.shows(30*time.Second, "#verdict.bad", "60/60 targets owned · 0 hand-overs pending")
	b.shoot("status-failing", "header", "#moves")
	r.pageKilledAtNight(b)
	b.open(r.Pairs[0].Sidecar.URL + "/?q=pair-1")
	b.shows(10*time.Second, "#found", "No target matches")
	found := 0
	for _, heir := range []*Pair{r.Pairs[0], r.Pairs[2]} {
		b.open(r.Pairs[0].Sidecar.URL + "/?q=" + heir.Name)
		var first, last, total int
		if _, err := fmt.Sscanf(b.text("#found p"), "%d–%d of %d targets", &first, &last, &total); err != nil || total == 0 {
			r.Errorf("%s owns %q (%v)", heir.Name, b.text("#found p"), err)
		}
		found += total
	}
	if found != shopTargets {
		r.Errorf("the heirs own %d targets of %d", found, shopTargets)
	}
}

// pageKilledAtNight: what somebody on call sees first.
func (r *rig) pageKilledAtNight(b *browser) {
	b.window(390, 844, chromedp.EmulateMobile)
	defer b.window(1240, 900)
	b.scheme("dark")
	defer b.scheme("light")
	b.shows(10*time.Second, "#views", "2 members say the same of all", "pair-1 is dead")
	b.fits()
	b.whole()
	b.shoot("status-failing-phone", "header", "#moves")
}

// pageAlone: the page says so when its own sidecar answers no more.
func (r *rig) pageAlone(b *browser) {
	r.event("pageAlone")
	r.Pairs[0].Sidecar.Kill()
	b.shows(20*time.Second, "#silence", "has not answered since")
	b.shows(time.Second, "#members", "pair-0")
}

// Whoever names members, jobs and labels may write into the page what they like:
// it is text there.
func TestStatusPageHostile(t *testing.T) {
	b := newBrowser(t)
	const script = `"><img src=x onerror=alert(1)><script>alert(2)</script>`
	const job = `'><svg onload=alert(3)>`
	source := strings.Replace(fileSource(interval), "job_name: farm", fmt.Sprintf("job_name: %q", job), 1)
	r := newRig(t, setup{pairs: 2, targets: 20, replicas: 1, source: source})
	name := `<b onclick=alert(4)>` + strings.Repeat("long", 15) + script[:40]
	r.replaceIn(r.Pairs[1], "node: pair-1", "node: '"+name+"'\n  zone: '</td><h1>zone'")
	long := strings.Repeat("very-long-", 400)
	more := map[string]string{"team": script, "spoof": "abc\u202egnp.exe", "control": "a\u0007b\u0000", "long": long, "link": "javascript:alert(5)"}
	if err := r.WriteFile("sd/farm.json", labelled(r.targets, more)); err != nil {
		t.Fatal(err)
	}
	r.up(r.Pairs...)

	for _, width := range []int64{1240, 390} {
		b.window(width, 900)
		b.open(r.Pairs[0].Sidecar.URL + "/?q=team%3D%22%3E")
		b.shows(20*time.Second, "#verdict", "2/2 members agree")
		b.shows(10*time.Second, "#members", `<b onclick=alert(4)>`, "</td><h1>zone")
		b.shows(10*time.Second, "#jobs", job)
		eval[int](b, `[...document.querySelectorAll("details")].map((d) => { d.open = true; }).length`)
		b.shows(10*time.Second, "#found", `team="`+script, `abc\u202egnp.exe`, `a\u0007b\u0000`, "very-long-")
		if bad := eval[[]string](b, `[...document.querySelectorAll("main img, main svg[onload], main script, main b, main h1, [onclick], [onerror], [style]")].map((e) => e.outerHTML)`); len(bad) > 0 {
			t.Errorf("elements that others wrote: %q", bad)
		}
		if bad := eval[[]string](b, `[...document.querySelectorAll("a")].map((a) => a.href).filter((h) => !/^https?:/.test(h))`); len(bad) > 0 {
			t.Errorf("links that are not web addresses: %q", bad)
		}
		b.fits()
	}
}
