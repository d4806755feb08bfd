package promconfig

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/discovery"
	"go.yaml.in/yaml/v3"
)

const (
	staticKey   = "static_configs"
	sdKeySuffix = "_sd_configs"
)

// pluginTags maps the name of every discovery that Prometheus can link to the
// part of its build tag, enable_<tag>_sd, that brings it in: see the plugins
// directory of github.com/prometheus/prometheus. Static, file and http need none.
var pluginTags = map[string]string{
	"aws": "aws", "ec2": "aws", "ecs": "aws", "elasticache": "aws", "lightsail": "aws", "msk": "aws", "rds": "aws",
	"azure":        "azure",
	"consul":       "consul",
	"digitalocean": "digitalocean",
	"dns":          "dns",
	"docker":       "moby", "dockerswarm": "moby",
	"eureka":     "eureka",
	"gce":        "gce",
	"hetzner":    "hetzner",
	"ionos":      "ionos",
	"kubernetes": "kubernetes",
	"kuma":       "xds",
	"linode":     "linode",
	"marathon":   "marathon",
	"nerve":      "zookeeper", "serverset": "zookeeper",
	"nomad":     "nomad",
	"oci":       "oci",
	"openstack": "openstack",
	"outscale":  "outscale",
	"ovhcloud":  "ovhcloud",
	"puppetdb":  "puppetdb",
	"scaleway":  "scaleway",
	"stackit":   "stackit",
	"triton":    "triton",
	"uyuni":     "uyuni",
	"vultr":     "vultr",
}

// isDiscoveryKey tells whether a job finds targets by what is under the key.
func isDiscoveryKey(key string) bool {
	return key == staticKey || strings.HasSuffix(key, sdKeySuffix)
}

// checkLinked refuses a discovery that Prometheus knows and this build leaves
// out. Prometheus's own parser would say "field not found", as of a typo.
func checkLinked(d *document) error {
	linked := discovery.RegisteredConfigNames()
	holders := items(effective(d.root, "scrape_configs"))
	holders = append(holders, items(effective(effective(d.root, "alerting"), "alertmanagers"))...)
	for _, holder := range holders {
		for _, f := range fields(holder) {
			if err := checkKeyLinked(d.path, f.key, linked); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkKeyLinked(path string, key *yaml.Node, linked []string) error {
	name, isSD := strings.CutSuffix(key.Value, sdKeySuffix)
	tag, known := pluginTags[name]
	if !isSD || !known || slices.Contains(linked, name) {
		return nil
	}
	return at(path, key.Line, fmt.Errorf(
		"this build leaves out %s; build with -tags full (make build-full), or -tags full,remove_all_sd,enable_%s_sd",
		key.Value, tag))
}
