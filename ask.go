package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	commoncfg "github.com/prometheus/common/config"
)

// askFlags are those of the commands that ask a running sidecar.
type askFlags struct {
	url        string
	httpConfig string // file; empty: defaults
}

func (f *askFlags) add(cmd *kingpin.CmdClause) {
	cmd.Flag("url", "The sidecar to ask.").Default("http://127.0.0.1:9590").StringVar(&f.url)
	cmd.Flag("http.config.file", "A Prometheus HTTP client configuration, for TLS and authentication.").StringVar(&f.httpConfig)
}

// sidecar is a running one, to be asked.
type sidecar struct {
	url    string
	client *http.Client
}

func (f askFlags) sidecar() (*sidecar, error) {
	if u, err := url.Parse(f.url); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, errors.New("--url: not a URL such as http://127.0.0.1:9590; begin it with http:// or https://")
	}
	httpConfig := &commoncfg.DefaultHTTPClientConfig
	if f.httpConfig != "" {
		var err error
		if httpConfig, _, err = commoncfg.LoadHTTPConfigFile(f.httpConfig); err != nil {
			return nil, fmt.Errorf("read --http.config.file: %w", err)
		}
	}
	client, err := commoncfg.NewClientFromConfig(*httpConfig, "ringside-cli")
	if err != nil {
		return nil, fmt.Errorf("--http.config.file: %w", err)
	}
	client.Timeout = 30 * time.Second
	return &sidecar{url: strings.TrimRight(f.url, "/"), client: client}, nil
}

// ask reads the data of the answer that the sidecar gives at path.
func (s *sidecar) ask(path string, data any) error {
	resp, err := s.client.Get(s.url + path)
	if err != nil {
		return fmt.Errorf("ask the sidecar: %w; is it running there? --url says where", err)
	}
	defer resp.Body.Close()
	answer := struct {
		Data  any
		Error string
	}{Data: data}
	err = json.NewDecoder(resp.Body).Decode(&answer)
	switch {
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("ask the sidecar: %s: %s", resp.Status, cmp.Or(answer.Error, "no reason given"))
	case err != nil:
		return fmt.Errorf("ask the sidecar: read its answer: %w", err)
	}
	return nil
}
