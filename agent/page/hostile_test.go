package page_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/net/html"

	"github.com/ringside-project/ringside/agent/page"
	"github.com/ringside-project/ringside/uploader"
)

func TestLinks(t *testing.T) {
	m := healthy(4, 60)
	m.Members[1].HTTPAddress = "javascript:alert(1)"
	m.Members[2].HTTPAddress = `evil.example:80/"><script>`
	m.Answers["member-3"] = page.Answer{TLS: true, At: now, Problem: "not asked: it speaks TLS"}
	m.Search.Found[0].ScrapeURL = "javascript:alert(1)//"
	m.Search.Found[1].ScrapeURL = "http://user:planted@10.0.0.9/metrics"
	_, doc := render(t, m)
	var links []string
	for n := range doc.Descendants() {
		if href := attribute(n, "href"); n.Data == "a" && strings.Contains(href, ":") {
			links = append(links, href)
			if !strings.HasPrefix(href, "http") || strings.Contains(href, "planted") {
				t.Errorf("a link to %s", href)
			}
		}
	}
	text := strings.Join(links, " ")
	for _, want := range []string{"http://10.0.0.1:9090", "https://10.0.0.4:9590/", "https://10.0.0.4:9590/prometheus"} {
		if !strings.Contains(text, want) {
			t.Errorf("no link to %s in %s", want, text)
		}
	}
	if strings.Contains(text, "evil") {
		t.Errorf("links: %s", text)
	}
	// An owner's name leads where the member's in the table does: nowhere, of those that say nonsense.
	var owners []string
	for n := range element(doc, "found").Descendants() {
		if href := attribute(n, "href"); n.Data == "a" && attribute(n, "rel") == "" {
			owners = append(owners, textOf(n)+" "+href)
		}
	}
	for _, want := range []string{"member-3 https://10.0.0.4:9590/", "its Prometheus https://10.0.0.4:9590/prometheus", "its Prometheus http://10.0.0.1:9090"} {
		if !slices.Contains(owners, want) {
			t.Errorf("no link %s in %q", want, owners)
		}
	}
	if slices.ContainsFunc(owners, func(s string) bool { return strings.HasPrefix(s, "member-1") || strings.HasPrefix(s, "member-2") }) {
		t.Errorf("links: %q", owners)
	}
}

const hostile = "\"'><img src=x onerror=alert(1)></td><script>alert(2)</script>\u202e\x00\x1b[31m\xff{{.}}"

// plant puts text into every string that v holds.
func plant(v reflect.Value, text string, depth int) {
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() && v.Type() == reflect.TypeFor[string]() { // the other types are enumerations, checked where they are read
			v.SetString(text + v.String())
		}
	case reflect.Pointer:
		if v.IsNil() && depth < 8 && v.CanSet() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		if !v.IsNil() {
			plant(v.Elem(), text, depth+1)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[labels.Labels]() {
			v.Set(reflect.ValueOf(labels.FromStrings(text, text)))
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				plant(v.Field(i), text, depth+1)
			}
		}
	case reflect.Slice:
		if v.Len() == 0 && v.CanSet() && depth < 8 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range v.Len() {
			plant(v.Index(i), text, depth+1)
		}
	case reflect.Map:
		next := reflect.MakeMap(v.Type())
		for _, key := range v.MapKeys() {
			value := reflect.New(v.Type().Elem()).Elem()
			value.Set(v.MapIndex(key))
			plant(value, text, depth+1)
			k := reflect.New(v.Type().Key()).Elem()
			k.Set(key)
			plant(k, text, depth+1)
			next.SetMapIndex(k, value)
		}
		if v.CanSet() {
			v.Set(next)
		}
	}
}

// TestHostileStrings puts markup and what is not seen into every string of the
// model: none of it becomes part of the page.
func TestHostileStrings(t *testing.T) {
	elements := func(doc *html.Node) map[string]int {
		count := map[string]int{}
		for n := range doc.Descendants() {
			if n.Type == html.ElementNode {
				count[n.Data]++
				for _, a := range n.Attr {
					if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
						t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
					}
				}
			}
		}
		return count
	}
	full := func(text string) *page.Model {
		m := healthy(3, 60)
		m.Relay = upstreams(t, fineUpstream)
		m.Uploads = uploader.Status{Bucket: &uploader.BucketStatus{}, Labels: map[string]string{"a": "b"}, Blocks: []uploader.BlockStatus{{State: "refused"}}}
		plant(reflect.ValueOf(m).Elem(), text, 0)
		m.Search.Page, m.Search.PerPage, m.Search.Refresh = 2, 10, 30
		m.Search.Query = hostile[:60] // the agent drops what is not seen
		return m
	}
	_, plain := render(t, full("x"))
	text, doc := render(t, full(hostile))
	want, got := elements(plain), elements(doc)
	for _, name := range []string{"img", "script", "b", "svg", "style", "iframe", "td", "a", "form", "meta", "link", "h1"} {
		if name == "a" && got[name] <= want[name] {
			continue // what is no address is no link
		}
		if got[name] != want[name] {
			t.Errorf("%d <%s>, without hostile names %d", got[name], name, want[name])
		}
	}
	yaml := strings.Index(text, "<pre") // the configuration is this sidecar's own, and shown as it is
	for _, raw := range []string{"\u202e", "\x00", "\x1b", "<script>alert"} {
		if i := strings.Index(text, raw); i >= 0 && i < yaml {
			t.Errorf("%q is on the page: …%q", raw, text[max(0, i-300):i+10])
		}
	}
	for _, want := range []string{`\u202e`, `\u0000`, "&lt;img src=x"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q on the page", want)
		}
	}
}

// TestPolicy: the page has nothing that its policy forbids.
func TestPolicy(t *testing.T) {
	if !strings.HasPrefix(page.Policy, "default-src 'none'; style-src 'self'; script-src 'self';") || strings.Contains(page.Policy, "unsafe") {
		t.Errorf("the policy is %s", page.Policy)
	}
	_, doc := render(t, healthy(3, 60))
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch {
		case n.Data == "style", n.Data == "script" && attribute(n, "src") == "":
			t.Errorf("an inline <%s>", n.Data)
		case n.Data == "script", n.Data == "link", n.Data == "img":
			path := attribute(n, "src") + attribute(n, "href")
			if body, kind, ok := page.Asset("/" + path); !ok || len(body) == 0 || kind == "" {
				t.Errorf("<%s> refers to %s, which is not there", n.Data, path)
			}
		}
	}
	if _, _, ok := page.Asset("/static/page.css"); ok {
		t.Error("an asset is found without its hash")
	}
}
