//go:build full

package bucket

import (
	"github.com/go-kit/log"
	"github.com/thanos-io/objstore"
	"github.com/thanos-io/objstore/client"
	"go.yaml.in/yaml/v3"
)

// linked are all providers of thanos-io/objstore.
func linked() map[string]provider {
	all := map[string]provider{}
	for _, kind := range known {
		all[kind] = func(logger log.Logger, config []byte) (objstore.Bucket, error) {
			var fields map[string]any
			if err := yaml.Unmarshal(config, &fields); err != nil {
				return nil, err
			}
			return client.NewBucketFromConfig(logger, &client.BucketConfig{Type: objstore.ObjProvider(kind), Config: fields}, component, nil)
		}
	}
	all["FILESYSTEM"] = newFilesystem
	return all
}
