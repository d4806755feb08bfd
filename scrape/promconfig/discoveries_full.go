//go:build full

package promconfig

// Every discovery that Prometheus itself links, less those its own tags take
// away: remove_all_sd, enable_<name>_sd.
import _ "github.com/prometheus/prometheus/plugins"
