package bucket

import (
	"github.com/go-kit/log"
	"github.com/thanos-io/objstore"
	"github.com/thanos-io/objstore/providers/azure"
	"github.com/thanos-io/objstore/providers/filesystem"
	"github.com/thanos-io/objstore/providers/s3"
)

const createContainer = "storage_create_container"

// common are the providers of every build.
func common() map[string]provider {
	return map[string]provider{
		"FILESYSTEM": {open: newFilesystem, fields: filesystem.Config{}, required: []string{"directory"}},
		"AZURE": {
			open: func(logger log.Logger, config []byte) (objstore.Bucket, error) {
				return azure.NewBucket(logger, config, component, nil)
			},
			// With it, open looks for the container, and makes it.
			defaults: map[string]any{createContainer: false},
			offline:  map[string]any{createContainer: false},
			reaches:  func(fields map[string]any) bool { return fields[createContainer] != false },
			fields:   azure.Config{},
			required: []string{"storage_account", "container"},
		},
		"S3": {
			open: func(logger log.Logger, config []byte) (objstore.Bucket, error) {
				return s3.NewBucket(logger, config, component, nil)
			},
			// With sums, the client hashes parts one after the other, and so sends them one
			// after the other. The uploader compares sizes, and has hashes of its own.
			defaults: map[string]any{"send_content_md5": false},
			offline:  map[string]any{}, // it reaches for nothing before the first request
			fields:   s3.Config{},
			required: []string{"bucket", "endpoint"},
		},
	}
}
