//go:build !full

package promconfig_test

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLoadNamesTheTagOfADiscoveryLeftOut(t *testing.T) {
	const ec2 = "this build leaves out ec2_sd_configs; build with -tags full (make build-full), or -tags full,remove_all_sd,enable_aws_sd"
	for name, tc := range map[string]struct{ source, want string }{
		"in a job":      {"scrape_configs:\n  - job_name: a\n    ec2_sd_configs: [{region: eu-west-1}]\n", "@:3: " + ec2},
		"merged":        {"scrape_configs:\n  - job_name: a\n    <<: {ec2_sd_configs: [{region: eu-west-1}]}\n", "@:3: " + ec2},
		"of another":    {"scrape_configs:\n  - job_name: a\n    kuma_sd_configs: []\n", "@:3: this build leaves out kuma_sd_configs; build with -tags full (make build-full), or -tags full,remove_all_sd,enable_xds_sd"},
		"for alerting":  {"alerting:\n  alertmanagers:\n    - ec2_sd_configs: [{region: eu-west-1}]\n", "@:3: " + ec2},
		"of no one":     {"scrape_configs:\n  - job_name: a\n    etcd_sd_configs: []\n", "@:3: scrape_configs[0].etcd_sd_configs: unknown field; known here: job_name, "},
		"a value of it": {"scrape_configs:\n  - job_name: ec2_sd_configs\n    foo: 1\n", "@:3: scrape_configs[0].foo: unknown field; "},
	} {
		t.Run(name, func(t *testing.T) { refused(t, write(t, tc.source), options(), tc.want) })
	}

	path := write(t, "scrape_config_files: [jobs.yaml]\n")
	file := filepath.Join(filepath.Dir(path), "jobs.yaml")
	if err := os.WriteFile(file, []byte("scrape_configs:\n  - job_name: a\n    ec2_sd_configs: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, path, options(), file+":3: "+ec2)
}
