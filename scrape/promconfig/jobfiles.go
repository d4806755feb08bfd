package promconfig

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"github.com/cespare/xxhash/v2"
	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	yamlv2 "go.yaml.in/yaml/v2"
)

// jobFile is one of the scrape_config_files.
type jobFile struct {
	*document
	jobs []*config.ScrapeConfig // paths as written, defaults not filled in
}

// loadJobFiles reads the scrape_config_files in Prometheus's order. What
// concerns more than one file is left to Prometheus's own GetScrapeConfigs.
func loadJobFiles(cfg *config.Config, dir string) ([]jobFile, error) {
	var files []jobFile
	for _, pattern := range cfg.ScrapeConfigFiles {
		names, err := filepath.Glob(commoncfg.JoinDir(dir, pattern))
		if err != nil {
			return nil, fmt.Errorf("scrape_config_files: %q: %w", pattern, err)
		}
		for _, name := range names {
			file, err := loadJobFile(name, cfg.GlobalConfig)
			if err != nil {
				return nil, fmt.Errorf("scrape_config_files: %w", err)
			}
			files = append(files, file)
		}
	}
	return files, nil
}

func loadJobFile(path string, global config.GlobalConfig) (jobFile, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return jobFile{}, err
	}
	d, treeErr := parseDocument(path, content)
	if treeErr == nil {
		if err := checkLinked(d); err != nil {
			return jobFile{}, err
		}
	}
	var parsed config.ScrapeConfigs
	err = yamlv2.UnmarshalStrict(content, &parsed)
	switch {
	case treeErr != nil:
		return jobFile{}, treeErr
	case err != nil:
		return jobFile{}, locate(path, &wording{d.root, reflect.TypeFor[config.ScrapeConfigs]()}, blame([]*document{d}, global, err))
	}
	return jobFile{d, parsed.ScrapeConfigs}, nil
}

// documents lists the documents that jobs are in, in Prometheus's order.
func documents(main *document, files []jobFile) []*document {
	all := []*document{main}
	for _, file := range files {
		all = append(all, file.document)
	}
	return all
}

// hash digests the configuration as Prometheus would print it. That text masks
// secrets, whose digest would be shown to everyone; and it must not hold what
// differs from member to member: directories, and what external labels take
// from the environment.
func hash(main *document, cfg *config.Config, files []jobFile) uint64 {
	whole := *cfg
	var raw []string
	for _, f := range fields(effective(effective(main.root, "global"), "external_labels")) {
		raw = append(raw, f.key.Value, f.value.Value)
	}
	whole.GlobalConfig.ExternalLabels = labels.FromStrings(raw...)
	whole.ScrapeConfigs = append([]*config.ScrapeConfig(nil), cfg.ScrapeConfigs...)
	for _, file := range files {
		whole.ScrapeConfigs = append(whole.ScrapeConfigs, file.jobs...)
	}
	return xxhash.Sum64String(whole.String())
}
