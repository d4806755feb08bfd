package uploader

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/thanos-io/objstore"

	"github.com/ringside-project/ringside/uploader/bucket"
)

// Config is the uploader: block of ringside.yml.
type Config struct {
	Bucket          *bucket.Config `yaml:"bucket,omitempty"`        // where blocks go; nil: see BucketFile
	BucketFile      string         `yaml:"bucket_file,omitempty"`   // a YAML file that holds what bucket would
	Probe           bool           `yaml:"probe"`                   // put, read and delete an object at the start, so that wrong credentials show
	FlushOnShutdown bool           `yaml:"flush_on_shutdown"`       // cut the head into blocks when Prometheus has gone
	ShutdownWait    model.Duration `yaml:"shutdown_wait"`           // how long to wait for Prometheus to have gone
	AllowUnreadable bool           `yaml:"allow_unreadable_chunks"` // upload chunks that released versions of Thanos cannot decode

	dir string // where relative paths start, in BucketFile too
}

// DefaultConfig holds the values of fields that the user leaves out.
var DefaultConfig = Config{Probe: true, FlushOnShutdown: true, ShutdownWait: model.Duration(30 * time.Second)}

// UnmarshalYAML fills in the defaults.
func (c *Config) UnmarshalYAML(unmarshal func(any) error) error {
	*c = DefaultConfig
	type plain Config
	return unmarshal((*plain)(c))
}

// SetDirectory makes relative paths start at dir.
func (c *Config) SetDirectory(dir string) {
	c.dir, c.BucketFile = dir, config.JoinDir(dir, c.BucketFile)
	setDirectory(c.Bucket, dir)
}

func setDirectory(b *bucket.Config, dir string) {
	if b == nil || !strings.EqualFold(b.Type, "FILESYSTEM") {
		return
	}
	if d, ok := b.Config["directory"].(string); ok {
		b.Config["directory"] = config.JoinDir(dir, d)
	}
}

// Enabled tells whether the user asks for uploads.
func (c *Config) Enabled() bool { return c.Bucket != nil || c.BucketFile != "" }

// Validate says which field is wrong and what to write instead. It reads the
// bucket file, if there is one.
func (c *Config) Validate() error {
	if c.Bucket != nil && c.BucketFile != "" {
		return errors.New("uploader.bucket_file: bucket is given too; keep one of the two")
	}
	if !c.Enabled() {
		return nil
	}
	if c.Bucket != nil {
		if err := c.Bucket.Check(); err != nil {
			return fmt.Errorf("uploader.bucket.%w", err)
		}
		return nil
	}
	if err := bucket.CheckFile(c.BucketFile); err != nil {
		return fmt.Errorf("uploader.bucket_file: %w", err)
	}
	return nil
}

// OpenBucket opens the bucket that c names. No error of it, then or later, has
// a secret of c in it.
func (c *Config) OpenBucket(logger log.Logger) (objstore.Bucket, error) {
	if !c.Enabled() {
		return nil, errors.New("uploader.bucket: none is given")
	}
	b, field, err := c.bucket()
	if err != nil {
		return nil, err
	}
	opened, err := bucket.Open(b, logger)
	if err != nil {
		return nil, fmt.Errorf("%s%w", field, err)
	}
	return opened, nil
}

// bucket gives what the user wrote of the bucket, and what to put before the
// name of a field of it.
func (c *Config) bucket() (b *bucket.Config, field string, err error) {
	if c.Bucket != nil {
		return c.Bucket, "uploader.bucket.", nil
	}
	field = "uploader.bucket_file: "
	if b, err = bucket.Read(c.BucketFile); err != nil {
		return nil, "", fmt.Errorf("%s%w", field, err)
	}
	setDirectory(b, c.dir)
	return b, field + c.BucketFile + ": ", nil
}
