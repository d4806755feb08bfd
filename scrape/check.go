package scrape

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ringside-project/ringside/scrape/promconfig"
)

// CheckSource reads the source, and the rule files that it names, as the
// engine and Prometheus would, and says what a user should know of it. It also
// looks whether what is to be written could be, and writes nothing.
func CheckSource(cfg Config) (warnings []string, err error) {
	source, err := promconfig.Load(cfg.Prometheus.ConfigFile, sourceOptions(cfg, cfg.Sharding))
	if err != nil {
		return nil, err
	}
	warnings = append(source.Warnings, unknownJobs(cfg.Sharding, source)...)
	return warnings, errors.Join(promconfig.CheckRules(source.RuleFiles), checkPlaces(cfg.Prometheus))
}

// checkPlaces looks whether the files of p could be written.
func checkPlaces(p Prometheus) error {
	generated := p.GeneratedConfigFile
	var problem error
	if content, err := os.ReadFile(generated); err == nil {
		problem = checkOurs(generated, content)
	} else if !errors.Is(err, fs.ErrNotExist) {
		problem = fmt.Errorf("prometheus.generated_config_file: read %s: %w; name a file that this user may read and write", generated, cause(err))
	}
	return errors.Join(problem,
		checkDir("prometheus.generated_config_file", filepath.Dir(generated)),
		checkDir("prometheus.targets_dir", p.TargetsDir))
}

// checkOurs refuses to take a file for a generated one that is not.
func checkOurs(path string, content []byte) error {
	if len(content) == 0 || bytes.HasPrefix(content, []byte(promconfig.GeneratedMark)) {
		return nil
	}
	return fmt.Errorf("prometheus.generated_config_file: Ringside has not generated %s as it is now; move it away, or name another file", path)
}

// checkDir looks whether dir, or the nearest directory above it that exists,
// can be written to.
func checkDir(field, dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir:
		return checkDir(field, filepath.Dir(dir))
	case err != nil:
		return fmt.Errorf("%s: look at %s: %w; name a place that this user can reach", field, dir, cause(err))
	case !info.IsDir():
		return fmt.Errorf("%s: %s is not a directory; name another place", field, dir)
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return fmt.Errorf("%s: write to %s: %w; make it writable for this user", field, dir, err)
	}
	return nil
}

// unknownJobs warns of sharding options for jobs that are not in the source.
func unknownJobs(sharding Sharding, source *promconfig.Source) []string {
	var warnings []string
	for _, s := range sharding.Jobs {
		if !slices.ContainsFunc(source.Jobs, func(j promconfig.Job) bool { return j.Config.JobName == s.Job }) {
			warnings = append(warnings, fmt.Sprintf("scrape.jobs: the source %s has no job %q", source.Files[0], s.Job))
		}
	}
	return warnings
}
