package bucket

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/go-kit/log"
	"github.com/thanos-io/objstore"
)

const (
	masked    = "<secret>"
	minSecret = 4 // bytes; what is shorter tells nothing, and would be found everywhere
)

// harmless are fields whose values are no secrets, and that help to tell what is wrong.
var harmless = []string{
	"directory", "bucket", "container", "container_name", "endpoint", "region", "region_name", "auth_url", "sts_endpoint",
	"az_tenant_id", "storage_account", "type", "tls_config", "list_objects_version", "bucket_lookup_type", "kms_key_id",
	"ca_file", "cert_file", "key_file", "server_name",
}

// scrubber takes the secrets of a bucket's configuration out of texts.
type scrubber struct{ secrets *strings.Replacer }

// newScrubber takes every text in config for a secret that is not known to be
// harmless.
func newScrubber(config map[string]any) scrubber {
	var found []string
	var walk func(name string, v any)
	walk = func(name string, v any) {
		switch v := v.(type) {
		case string:
			if len(v) >= minSecret && !slices.Contains(harmless, name) {
				found = append(found, forms(v)...)
			}
		case []any:
			for _, x := range v {
				walk(name, x)
			}
		case map[string]any:
			for key, x := range v {
				walk(key, x)
			}
		case nil, bool:
		default: // a number may well be a password
			walk(name, fmt.Sprint(v))
		}
	}
	walk("", config)
	slices.SortFunc(found, func(a, b string) int { return len(b) - len(a) }) // one may be part of another
	var pairs []string
	for _, s := range slices.Compact(found) {
		pairs = append(pairs, s, masked)
	}
	return scrubber{secrets: strings.NewReplacer(pairs...)}
}

// forms are the ways in which a secret shows: as it is, line by line, and as a
// part of a URL, of JSON, of a quoted text, and of a header.
func forms(secret string) []string {
	out := []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret)),
		strings.Trim(fmt.Sprintf("%q", secret), `"`),
	}
	if quoted, err := json.Marshal(secret); err == nil {
		out = append(out, strings.Trim(string(quoted), `"`))
	}
	for line := range strings.Lines(secret) {
		if line = strings.TrimSpace(line); len(line) >= 2*minSecret {
			out = append(out, line)
		}
	}
	return out
}

func (s scrubber) text(words string) string { return s.secrets.Replace(words) }

// error gives err with its text scrubbed. errors.Is and As see the original.
func (s scrubber) error(err error) error {
	if err == nil {
		return nil
	}
	return &scrubbedError{text: s.text(err.Error()), err: err}
}

type scrubbedError struct {
	text string
	err  error
}

func (e *scrubbedError) Error() string { return e.text }

func (e *scrubbedError) Unwrap() error { return e.err }

// original is the error as the provider gave it: providers look at its causes
// in ways of their own.
func original(err error) error {
	for at := err; at != nil; {
		if s, ok := at.(*scrubbedError); ok {
			return s.err
		}
		u, ok := at.(interface{ Unwrap() error })
		if !ok {
			break
		}
		at = u.Unwrap()
	}
	return err
}

// logger gives logger with all values scrubbed.
func (s scrubber) logger(logger log.Logger) log.Logger {
	return log.LoggerFunc(func(keyvals ...any) error {
		clean := slices.Clone(keyvals)
		for i, v := range clean {
			switch v := v.(type) {
			case string:
				clean[i] = s.text(v)
			case error:
				clean[i] = s.text(v.Error())
			}
		}
		return logger.Log(clean...)
	})
}

// scrubbed is a bucket whose errors show no secret.
type scrubbed struct {
	objstore.Bucket
	under objstore.Bucket // the provider's own
	hide  scrubber
}

func (b *scrubbed) Iter(ctx context.Context, dir string, f func(string) error, o ...objstore.IterOption) error {
	return b.hide.error(b.Bucket.Iter(ctx, dir, f, o...))
}

func (b *scrubbed) IterWithAttributes(ctx context.Context, dir string, f func(objstore.IterObjectAttributes) error, o ...objstore.IterOption) error {
	return b.hide.error(b.Bucket.IterWithAttributes(ctx, dir, f, o...))
}

func (b *scrubbed) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := b.Bucket.Get(ctx, name)
	return r, b.hide.error(err)
}

func (b *scrubbed) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	r, err := b.Bucket.GetRange(ctx, name, off, length)
	return r, b.hide.error(err)
}

func (b *scrubbed) Exists(ctx context.Context, name string) (bool, error) {
	ok, err := b.Bucket.Exists(ctx, name)
	return ok, b.hide.error(err)
}

func (b *scrubbed) Attributes(ctx context.Context, name string) (objstore.ObjectAttributes, error) {
	a, err := b.Bucket.Attributes(ctx, name)
	return a, b.hide.error(err)
}

func (b *scrubbed) Upload(ctx context.Context, name string, r io.Reader, o ...objstore.ObjectUploadOption) error {
	return b.hide.error(b.Bucket.Upload(ctx, name, r, o...))
}

func (b *scrubbed) Delete(ctx context.Context, name string) error {
	return b.hide.error(b.Bucket.Delete(ctx, name))
}

func (b *scrubbed) IsObjNotFoundErr(err error) bool { return b.Bucket.IsObjNotFoundErr(original(err)) }

func (b *scrubbed) IsAccessDeniedErr(err error) bool {
	return b.Bucket.IsAccessDeniedErr(original(err))
}
