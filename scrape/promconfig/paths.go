package promconfig

import (
	commoncfg "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"
)

// paths says where in a mapping Prometheus takes a relative path as relative to
// the configuration file: its SetDirectory methods, as a tree of keys. An empty
// tree is a path or a list of them; "*" stands for every key. A path that
// Prometheus leaves alone (google_iam's credentials_file, oauth2's
// client_certificate_key_file, …) is relative to its working directory and is
// not in here.
type paths map[string]paths

var (
	onePath  = paths{}
	tlsPaths = paths{"ca_file": onePath, "cert_file": onePath, "key_file": onePath}
	// httpPaths is of a prometheus/common HTTP client, in line wherever there is one.
	httpPaths = paths{
		"basic_auth":        {"username_file": onePath, "password_file": onePath},
		"authorization":     {"credentials_file": onePath},
		"bearer_token_file": onePath,
		"oauth2":            {"client_secret_file": onePath, "tls_config": tlsPaths},
		"tls_config":        tlsPaths,
		"http_headers":      {"*": {"files": onePath}},
	}
	jobPaths    = httpPaths.and(paths{"scrape_failure_log_file": onePath})
	configPaths = paths{
		"global":         {"query_log_file": onePath, "scrape_failure_log_file": onePath},
		"rule_files":     onePath,
		"scrape_configs": jobPaths,
		"alerting":       {"alertmanagers": httpPaths.and(sdPaths())},
		"remote_write":   httpPaths,
		"remote_read":    httpPaths,
		"tracing":        {"tls_config": tlsPaths},
	}
)

// sdPaths is of the discoveries, for those that find Alertmanagers: the jobs'
// own do not get into the generated configuration.
func sdPaths() paths {
	all := paths{}
	for name := range pluginTags {
		all[name+sdKeySuffix] = httpPaths
	}
	for _, name := range []string{"azure", "dns", "gce", "ovhcloud", "nerve", "serverset"} {
		delete(all, name+sdKeySuffix) // these leave every path alone
	}
	for _, name := range []string{"openstack", "triton"} {
		all[name+sdKeySuffix] = paths{"tls_config": tlsPaths}
	}
	all["file_sd_configs"] = paths{"files": onePath}
	all["http_sd_configs"] = httpPaths
	all["kubernetes_sd_configs"] = httpPaths.and(paths{"kubeconfig_file": onePath})
	all["marathon_sd_configs"] = httpPaths.and(paths{"auth_token_file": onePath})
	all["oci_sd_configs"] = httpPaths.and(paths{"key_file": onePath, "key_passphrase_file": onePath})
	all["outscale_sd_configs"] = httpPaths.and(paths{"secret_key_file": onePath})
	all["scaleway_sd_configs"] = httpPaths.and(paths{"secret_key_file": onePath})
	return all
}

func (p paths) and(more paths) paths {
	both := paths{}
	for _, from := range []paths{p, more} {
		for key, below := range from {
			both[key] = below
		}
	}
	return both
}

// join makes the relative paths below n relative to dir, as Prometheus would
// have read them.
func (p paths) join(n *yaml.Node, dir string) {
	switch n.Kind {
	case yaml.SequenceNode:
		for _, item := range n.Content {
			p.join(item, dir)
		}
	case yaml.MappingNode:
		for _, f := range fields(n) {
			below, ok := p[f.key.Value]
			if !ok {
				below, ok = p["*"]
			}
			if ok {
				below.join(f.value, dir)
			}
		}
	case yaml.ScalarNode:
		if joined := commoncfg.JoinDir(dir, n.Value); len(p) == 0 && !isNull(n) && joined != n.Value {
			n.Value = joined
			if n.Style&yaml.TaggedStyle == 0 {
				n.Tag = "!!str"
			}
		}
	}
}
