package agent

import (
	"fmt"
	"os"

	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"

	"github.com/ringside-project/ringside/agent/page"
)

// webConfig is exporter-toolkit's file, which that reads again for every
// connection. Without a path there is neither TLS nor a password.
type webConfig struct{ path string }

func (c webConfig) read() (web.Config, error) {
	var cfg web.Config
	if c.path == "" {
		return cfg, nil
	}
	text, err := os.ReadFile(c.path)
	if err != nil {
		return cfg, fmt.Errorf("read web configuration: %w", err)
	}
	if err := yaml.Unmarshal(text, &cfg); err != nil {
		return cfg, fmt.Errorf("web configuration %s does not parse", c.path) // the error would quote it
	}
	return cfg, nil
}

// tls tells whether the web is served over TLS.
func (c webConfig) tls() bool {
	cfg, err := c.read()
	return err == nil && servesTLS(cfg)
}

func servesTLS(cfg web.Config) bool {
	return cfg.TLSConfig.TLSCertPath != "" || cfg.TLSConfig.TLSCert != ""
}

// security is what protects this sidecar, for the page.
func (h *handlers) security() page.Security {
	s := page.Security{Lifecycle: h.lifecycle, Pprof: h.pprof}
	cfg, err := h.web.read()
	if err != nil {
		s.Error = err.Error()
		return s
	}
	s.TLS = servesTLS(cfg)
	s.Auth = len(cfg.Users) > 0 || cfg.TLSConfig.ClientAuth == "RequireAnyClientCert" || cfg.TLSConfig.ClientAuth == "RequireAndVerifyClientCert"
	return s
}
