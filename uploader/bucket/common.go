package bucket

import (
	"github.com/go-kit/log"
	"github.com/thanos-io/objstore"
	"github.com/thanos-io/objstore/providers/azure"
	"github.com/thanos-io/objstore/providers/filesystem"
	"github.com/thanos-io/objstore/providers/s3"
)

// common are the providers of every build.
func common() map[string]provider {
	return map[string]provider{
		"FILESYSTEM": {open: newFilesystem, fields: filesystem.Config{}, required: []string{"directory"}},
		"AZURE": {
			open: func(logger log.Logger, config []byte) (objstore.Bucket, error) {
				return azure.NewBucket(logger, config, component, nil)
			},
			offline:  map[string]any{"storage_create_container": false}, // or it looks for the container, and makes it
			fields:   azure.Config{},
			required: []string{"storage_account", "container"},
		},
		"S3": {
			open: func(logger log.Logger, config []byte) (objstore.Bucket, error) {
				return s3.NewBucket(logger, config, component, nil)
			},
			offline:  map[string]any{}, // it reaches for nothing before the first request
			fields:   s3.Config{},
			required: []string{"bucket", "endpoint"},
		},
	}
}
