// Package bucket opens the object storage that a user names: any provider of
// thanos-io/objstore. It changes a few things about them: no error and no log
// line shows a secret of the configuration, what is put into a FILESYSTEM
// bucket appears whole or not at all, and parts go to S3 in parallel. And it opens
// without the network: one that is down is no reason not to start.
package bucket

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
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

// known are the providers of thanos-io/objstore; this build may leave some out.
var known = []string{"ALIYUNOSS", "AZURE", "BOS", "COS", "FILESYSTEM", "GCS", "OBS", "OCI", "S3", "SWIFT"}

// UnmarshalYAML reads it as any struct, but says nothing of a value that is wrong.
func (c *Config) UnmarshalYAML(unmarshal func(any) error) error {
	type plain Config
	err := unmarshal((*plain)(c))
	var typed *yaml.TypeError
	if errors.As(err, &typed) {
		clean := &yaml.TypeError{}
		for _, text := range typed.Errors {
			clean.Errors = append(clean.Errors, wrongValue.ReplaceAllString(text, "$1 into $2"))
		}
		return clean
	}
	if err != nil {
		return withoutValues(err)
	}
	return nil
}

// wrongValue has the words before a value, and the type of the field.
var wrongValue = regexp.MustCompile("(?s)(cannot unmarshal !!\\w+) `.*` into (.+)$")

// Validate says what is wrong with the type. The rest Check and Open look at.
func (c *Config) Validate() error {
	switch kind := strings.ToUpper(c.Type); {
	case !slices.Contains(known, kind):
		return fmt.Errorf("type: %q; give one of %s", c.Type, strings.Join(known, ", "))
	case linked()[kind].open == nil:
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
	if err := c.checkFields(); err != nil {
		return nil, err
	}
	return c.open(logger, nil)
}

// open has the provider open it, with these fields in place of the user's; with
// the first request, if that takes the network.
func (c *Config) open(logger log.Logger, instead map[string]any) (objstore.Bucket, error) {
	p := linked()[strings.ToUpper(c.Type)]
	fields := maps.Clone(p.defaults)
	if fields == nil {
		fields = map[string]any{}
	}
	maps.Copy(fields, c.Config)
	maps.Copy(fields, instead)
	raw, err := yaml.Marshal(fields)
	if err != nil {
		return nil, errors.New("config: it cannot be rendered as YAML")
	}
	hide := newScrubber(c.Config)
	open := func() (objstore.Bucket, error) {
		b, err := p.open(hide.logger(logger), raw)
		return b, hide.error(p.explain(fields, raw, err))
	}
	var b objstore.Bucket
	if p.reaches != nil && p.reaches(fields) {
		if err := c.Check(); err != nil { // what shows without the network
			return nil, err
		}
		b = &late{kind: objstore.ObjProvider(strings.ToUpper(c.Type)), name: nameIn(fields), open: open}
	} else if b, err = open(); err != nil {
		return nil, err
	}
	return &scrubbed{Bucket: objstore.NewPrefixedBucket(b, c.Prefix), under: b, hide: hide}, nil
}

// nameIn is what the provider's fields call the bucket.
func nameIn(fields map[string]any) string {
	for _, field := range []string{"bucket", "container", "container_name"} {
		if name, ok := fields[field].(string); ok {
			return name
		}
	}
	return ""
}

// There tells, of a FILESYSTEM bucket that Open has opened, whether its directory
// exists: one that does not is an empty bucket to all who read it. Of others only
// requests tell.
func There(b objstore.Bucket) error {
	opened, _ := b.(*scrubbed)
	if opened == nil {
		return nil
	}
	local, _ := opened.under.(*whole)
	if local == nil {
		return nil
	}
	if _, err := os.Stat(local.dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("bucket %s: no such directory; the uploader makes it when it puts the first object", local.dir)
	} else if err != nil {
		return fmt.Errorf("bucket: %w", err)
	}
	return nil
}
