package promconfig

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/config"
)

// maxSlug keeps a target file's name, and a temporary one beside it, within the
// 255 bytes that file systems allow.
const maxSlug = 100

// TargetFileName names the file for a job's targets: what of the job's name is
// safe in a file name, and eight hexadecimal digits of the name's xxhash64.
func TargetFileName(job string) string {
	safe := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '-'
	}
	slug := strings.Map(safe, job)
	for strings.Contains(slug, "..") {
		slug = strings.ReplaceAll(slug, "..", ".")
	}
	slug = strings.TrimLeft(slug, ".-")
	slug = slug[:min(len(slug), maxSlug)]
	if slug == "" {
		slug = "job"
	}
	return fmt.Sprintf("%s-%s.json", slug, fmt.Sprintf("%016x", xxhash.Sum64String(job))[:8])
}

// watch fills in which files the source consists of, and the directories in
// which one of them may change, appear or go. cfg's paths are absolute.
func (s *Source) watch(source string, cfg *config.Config, files []jobFile) {
	for _, pattern := range cfg.RuleFiles {
		names, err := filepath.Glob(pattern)
		if err != nil {
			continue // Prometheus refuses the pattern, and says so better
		}
		s.RuleFiles = append(s.RuleFiles, names...)
	}
	s.RuleFiles = distinct(s.RuleFiles)
	s.Files = []string{source}
	for _, file := range files {
		s.Files = append(s.Files, file.path)
	}
	s.Files = distinct(append(s.Files, s.RuleFiles...))
	for _, name := range slices.Concat(s.Files, cfg.RuleFiles, cfg.ScrapeConfigFiles) {
		if name != "" {
			s.Dirs = append(s.Dirs, watchable(filepath.Dir(name)))
		}
	}
	s.Dirs = distinct(s.Dirs)
}

// watchable is the nearest directory at or above dir that exists and is no pattern.
func watchable(dir string) string {
	for filepath.Dir(dir) != dir {
		if info, err := os.Stat(dir); err == nil && info.IsDir() && !strings.ContainsAny(dir, `*?[\`) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return dir
}

// distinct drops repetitions, keeping the order.
func distinct(names []string) []string {
	seen := make(map[string]bool, len(names))
	return slices.DeleteFunc(names, func(name string) bool {
		again := seen[name]
		seen[name] = true
		return again
	})
}
