//go:build full

package bucket

import (
	"maps"

	"github.com/go-kit/log"
	"github.com/thanos-io/objstore"
	"github.com/thanos-io/objstore/client"
	"github.com/thanos-io/objstore/providers/gcs"
	"github.com/thanos-io/objstore/providers/obs"
	"github.com/thanos-io/objstore/providers/swift"
	"go.yaml.in/yaml/v3"
)

// linked are all providers of thanos-io/objstore. Of those that are here alone,
// Check looks at the fields of the strict ones: to open them may need the network.
func linked() map[string]provider {
	all := map[string]provider{}
	for _, kind := range known {
		all[kind] = provider{open: func(logger log.Logger, config []byte) (objstore.Bucket, error) {
			var fields map[string]any
			if err := yaml.Unmarshal(config, &fields); err != nil {
				return nil, err
			}
			return client.NewBucketFromConfig(logger, &client.BucketConfig{Type: objstore.ObjProvider(kind), Config: fields}, component, nil)
		}}
	}
	for kind, fields := range map[string]any{"GCS": gcs.Config{}, "OBS": obs.Config{}, "SWIFT": swift.Config{}} {
		p := all[kind]
		p.fields = fields
		all[kind] = p
	}
	always := func(map[string]any) bool { return true }
	for kind, required := range map[string][]string{"SWIFT": {"auth_url", "container_name"}, "OCI": {"bucket"}} {
		p := all[kind]
		p.reaches, p.required = always, required
		all[kind] = p
	}
	google := all["GCS"]
	google.reaches = func(fields map[string]any) bool { // the identity of the machine has to be asked for
		return fields["service_account"] == nil || fields["service_account"] == ""
	}
	google.required = []string{"bucket"}
	all["GCS"] = google
	maps.Copy(all, common())
	return all
}
