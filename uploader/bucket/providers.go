//go:build !full

package bucket

import (
	"github.com/go-kit/log"
	"github.com/thanos-io/objstore"
	"github.com/thanos-io/objstore/providers/azure"
	"github.com/thanos-io/objstore/providers/s3"
)

// linked are the providers of the default build. providers_full.go has all of
// them; Google's alone would add 19 MB to the 68 of the program.
func linked() map[string]provider {
	return map[string]provider{
		"FILESYSTEM": newFilesystem,
		"AZURE": func(logger log.Logger, config []byte) (objstore.Bucket, error) {
			return azure.NewBucket(logger, config, component, nil)
		},
		"S3": func(logger log.Logger, config []byte) (objstore.Bucket, error) {
			return s3.NewBucket(logger, config, component, nil)
		},
	}
}
