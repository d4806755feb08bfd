// Package uploader is to carry TSDB blocks to object storage. So far it holds
// only its configuration: the blocks of a member stay in its data directory.
package uploader

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// Config is the uploader: block of ringside.yml.
type Config struct {
	Bucket          *Bucket        `yaml:"bucket,omitempty"`      // where blocks go; nil: see BucketFile
	BucketFile      string         `yaml:"bucket_file,omitempty"` // a YAML file that holds what bucket would
	FlushOnShutdown bool           `yaml:"flush_on_shutdown"`     // cut the head into blocks when Prometheus has gone
	ShutdownWait    model.Duration `yaml:"shutdown_wait"`         // how long to wait for Prometheus to have gone
}

// Bucket names an object storage as thanos-io/objstore does.
type Bucket struct {
	Type   string         `yaml:"type"`             // FILESYSTEM, S3, GCS, …
	Config map[string]any `yaml:"config"`           // the provider's own fields
	Prefix string         `yaml:"prefix,omitempty"` // put before every object's name
}

// DefaultConfig holds the values of fields that the user leaves out.
var DefaultConfig = Config{FlushOnShutdown: true, ShutdownWait: model.Duration(30 * time.Second)}

// providers are those of thanos-io/objstore's client package.
var providers = []string{"ALIYUNOSS", "AZURE", "BOS", "COS", "FILESYSTEM", "GCS", "OBS", "OCI", "S3", "SWIFT"}

// UnmarshalYAML fills in the defaults.
func (c *Config) UnmarshalYAML(unmarshal func(any) error) error {
	*c = DefaultConfig
	type plain Config
	return unmarshal((*plain)(c))
}

// SetDirectory makes relative paths start at dir.
func (c *Config) SetDirectory(dir string) {
	c.BucketFile = config.JoinDir(dir, c.BucketFile)
	if c.Bucket == nil || !strings.EqualFold(c.Bucket.Type, "FILESYSTEM") {
		return
	}
	if d, ok := c.Bucket.Config["directory"].(string); ok {
		c.Bucket.Config["directory"] = config.JoinDir(dir, d)
	}
}

// Enabled tells whether the user asks for uploads.
func (c *Config) Enabled() bool { return c.Bucket != nil || c.BucketFile != "" }

// Validate says which field is wrong and what to write instead. It reads the
// bucket file, if there is one.
func (c *Config) Validate() error {
	switch {
	case c.Bucket != nil && c.BucketFile != "":
		return errors.New("uploader.bucket_file: bucket is given too; keep one of the two")
	case c.BucketFile != "":
		if err := checkFile(c.BucketFile); err != nil {
			return fmt.Errorf("uploader.bucket_file: %w", err)
		}
	case c.Bucket != nil:
		if err := c.Bucket.validate(); err != nil {
			return fmt.Errorf("uploader.bucket.%w", err)
		}
	}
	return nil
}

func checkFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var b Bucket
	dec := yaml.NewDecoder(f)
	dec.KnownFields(true)
	if err := dec.Decode(&b); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := b.validate(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (b *Bucket) validate() error {
	if !slices.Contains(providers, strings.ToUpper(b.Type)) {
		return fmt.Errorf("type: %q; give one of %s", b.Type, strings.Join(providers, ", "))
	}
	return nil
}
