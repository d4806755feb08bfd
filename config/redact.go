package config

import (
	"bytes"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ringside-project/ringside/scrape/promconfig/yamlfile"
)

const masked = "<secret>"

var index = regexp.MustCompile(`\[\d+\]`)

// harmless are the fields of a bucket's free-form configuration that may be shown.
var harmless = []string{"directory", "bucket", "container", "endpoint", "region"}

// Redacted renders the configuration in force, defaults filled in, as YAML
// without any secret: a field that may hold one is masked.
func (c *Config) Redacted() (string, error) {
	var root yaml.Node
	if err := root.Encode(c); err != nil {
		return "", fmt.Errorf("render configuration: %w", err)
	}
	mask(yamlfile.Place{Node: &root})
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(&root); err != nil {
		return "", fmt.Errorf("render configuration: %w", err)
	}
	return out.String(), nil
}

// mask goes over what prometheus/common does not take for a secret.
func mask(p yamlfile.Place) {
	for _, c := range p.Children() {
		switch {
		case c.Node.Kind != yaml.ScalarNode:
			mask(c)
		case hidden(c.Path):
			c.Node.SetString(masked)
		default:
			maskURL(c.Node)
		}
	}
}

// hidden tells whether the scalar at path may be a secret.
func hidden(path string) bool {
	steps := strings.Split(index.ReplaceAllString(path, ""), ".")
	if strings.HasPrefix(path, "uploader.bucket.config.") {
		return len(steps) != 4 || !slices.Contains(harmless, steps[3])
	}
	if strings.HasPrefix(path, "tracing.headers.") {
		return true
	}
	return slices.ContainsFunc(steps, func(s string) bool {
		return s == "http_headers" || s == "proxy_connect_header" || s == "endpoint_params" || s == "claims" || s == "external_id"
	})
}

// maskURL hides the password and the query values of a scalar that is a URL.
func maskURL(n *yaml.Node) {
	u, err := url.Parse(n.Value)
	if err != nil || u.Host == "" || (u.User == nil && u.RawQuery == "") {
		return
	}
	if u.User != nil {
		u.User = url.User(masked)
	}
	query := u.Query()
	for name := range query {
		query[name] = []string{masked}
	}
	u.RawQuery = query.Encode()
	text, err := url.PathUnescape(u.String())
	if err != nil {
		text = masked
	}
	n.SetString(text)
}
