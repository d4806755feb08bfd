package agent

import (
	"errors"
	"fmt"
	"os"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	commoncfg "github.com/prometheus/common/config"

	"github.com/ringside-project/ringside/config"
	"github.com/ringside-project/ringside/relay/upstream"
	"github.com/ringside-project/ringside/relay/wire"
	"github.com/ringside-project/ringside/scrape"
)

// Check says what is wrong with the files that cfg names, the source
// prometheus.yml and its rule files among them, or what it warns of. An error
// begins with a file and a line of it, or with the name of a field of cfg. It
// writes and binds nothing.
func Check(cfg *config.Config) (warnings []string, err error) {
	warnings, err = scrape.CheckSource(scrapeConfig(cfg, cfg.Relay.ListenAddress))
	return append(cfg.Warnings(), warnings...), errors.Join(CheckFiles(cfg), err)
}

// CheckFiles reads the certificates and the hashrings that cfg names, and makes
// of them what New does. An error begins with the name of the field at fault.
func CheckFiles(cfg *config.Config) error {
	all := []error{checkClient("prometheus.http_config", &cfg.Prometheus.HTTPConfig)}
	for i, u := range cfg.Relay.Upstreams {
		all = append(all, checkUpstream(fmt.Sprintf("relay.upstreams[%d]", i), u, cfg.ReplicaLabel))
	}
	if cfg.Tracing != nil {
		all = append(all, checkTLS("tracing.tls_config", &cfg.Tracing.TLSConfig))
	}
	return errors.Join(all...)
}

func checkClient(field string, c *commoncfg.HTTPClientConfig) error {
	if err := checkTLS(field+".tls_config", &c.TLSConfig); err != nil {
		return err
	}
	if _, err := commoncfg.NewClientFromConfig(*c, "ringside"); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	return nil
}

func checkTLS(field string, c *commoncfg.TLSConfig) error {
	for _, f := range []struct{ name, path string }{{"ca_file", c.CAFile}, {"cert_file", c.CertFile}, {"key_file", c.KeyFile}} {
		if err := checkFile(field+"."+f.name, f.path); err != nil {
			return err
		}
	}
	if _, err := commoncfg.NewTLSConfig(c); err != nil {
		return fmt.Errorf("%s: %w; certificates and keys must be PEM, and a key its certificate's", field, err)
	}
	return nil
}

func checkUpstream(field string, u upstream.Config, replicaLabel string) error {
	if err := errors.Join(checkClient(field+".http_config", &u.HTTPConfig), checkFile(field+".hashring.file", u.Hashring.File)); err != nil {
		return err
	}
	_, err := upstream.New(u, upstream.Options{
		ReplicaLabel: replicaLabel,
		Names:        wire.NewNames(replicaLabel, u.Tenant.Label),
		Logger:       log.NewNopLogger(),
		Metrics:      upstream.NewMetrics(prometheus.NewRegistry()),
	})
	switch {
	case err == nil:
		return nil
	case u.Hashring.File != "":
		field += ".hashring.file"
	}
	return fmt.Errorf("%s: %w", field, err)
}

// checkFile looks whether the file can be read. An empty path is none.
func checkFile(field, path string) error {
	if path == "" {
		return nil
	}
	if _, err := os.ReadFile(path); err != nil {
		return fmt.Errorf("%s: %w; name a file that is there and that this user may read", field, err)
	}
	return nil
}
