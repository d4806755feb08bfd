// Package bucket opens the object storage that a user names: any provider of
// thanos-io/objstore. It changes three things about them: no error and no log
// line shows a secret of the configuration, what is put into a FILESYSTEM
// bucket appears whole or not at all, and parts go to S3 in parallel.
package bucket

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-kit/log"
	"github.com/thanos-io/objstore"
	"go.yaml.in/yaml/v3"
)

// Config names an object storage as thanos-io/objstore does.
type Config struct {
	Type   string         `yaml:"type"`             // FILESYSTEM, S3, GCS, …
	Config map[string]any `yaml:"config"`           // the provider's own fields
	Prefix string         `yaml:"prefix,omitempty"` // put before every object's name
}

// provider makes a bucket of a provider's own fields, as YAML.
type provider func(logger log.Logger, config []byte) (objstore.Bucket, error)

// known are the providers of thanos-io/objstore; this build may leave some out.
var known = []string{"ALIYUNOSS", "AZURE", "BOS", "COS", "FILESYSTEM", "GCS", "OBS", "OCI", "S3", "SWIFT"}

// Validate says what is wrong with the type. The rest the provider itself
// checks, in Open.
func (c *Config) Validate() error {
	switch kind := strings.ToUpper(c.Type); {
	case !slices.Contains(known, kind):
		return fmt.Errorf("type: %q; give one of %s", c.Type, strings.Join(known, ", "))
	case linked()[kind] == nil:
		return fmt.Errorf("type: this build leaves out %s; build with -tags full (make build-full)", kind)
	}
	return nil
}

// Open opens the bucket. It does not reach for it: whether it is there, and the
// credentials are right, shows with the first request.
func Open(c *Config, logger log.Logger) (objstore.Bucket, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	kind := strings.ToUpper(c.Type)
	fields := maps.Clone(c.Config)
	if _, given := fields["send_content_md5"]; kind == string(objstore.S3) && !given {
		if fields == nil {
			fields = map[string]any{}
		}
		// The client hashes parts one after the other, and so sends them one after
		// the other. The uploader compares sizes, and has hashes of its own.
		fields["send_content_md5"] = false
	}
	raw, err := yaml.Marshal(fields)
	if err != nil {
		return nil, errors.New("config: it cannot be rendered as YAML")
	}
	hide := newScrubber(fields)
	b, err := linked()[kind](hide.logger(logger), raw)
	if err != nil {
		return nil, fmt.Errorf("config: %w", hide.error(err))
	}
	return &scrubbed{Bucket: objstore.NewPrefixedBucket(b, c.Prefix), hide: hide}, nil
}
