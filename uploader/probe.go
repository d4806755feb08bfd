package uploader

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/go-kit/log/level"
)

// probeTimeout bounds the three requests of a probe together.
const probeTimeout = time.Minute

// probe puts, reads and deletes a small object, so that a bucket that is not
// there and credentials that are wrong show before there is anything to upload.
func (e *engine) probe(ctx context.Context) (func(), error) {
	err := e.tryBucket(ctx)
	return func() {
		e.answered(err)
		e.probed = err == nil
		if err == nil {
			level.Info(e.logger).Log("msg", "the bucket can be written to and read", "bucket", e.bucket.Name())
		}
	}, err
}

func (e *engine) tryBucket(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	name, text := "ringside-probe-"+url.PathEscape(e.opts.Node), "put here by ringside to see whether it can\n"
	if err := e.bucket.Upload(ctx, name, strings.NewReader(text)); err != nil {
		return e.refusal("put", name, err)
	}
	r, err := e.bucket.Get(ctx, name)
	if err != nil {
		return e.refusal("get", name, err)
	}
	defer r.Close()
	got, err := io.ReadAll(io.LimitReader(r, 2*int64(len(text))))
	if err != nil {
		return e.refusal("get", name, err)
	}
	if string(got) != text {
		return fmt.Errorf("probe the bucket: get %s: it holds something else than what was put there", name)
	}
	if err := e.bucket.Delete(ctx, name); err != nil {
		return e.refusal("delete", name, err)
	}
	return nil
}

// refusal says what may be wrong.
func (e *engine) refusal(verb, name string, err error) error {
	check := "check the address, the name and the credentials in uploader.bucket"
	if e.bucket.IsAccessDeniedErr(err) {
		check = "the credentials in uploader.bucket do not allow it"
	}
	return fmt.Errorf("probe the bucket: %s %s: %w: %s; uploader.probe: false leaves the probe out", verb, name, err, check)
}
