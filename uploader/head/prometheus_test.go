package head_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/ringside-project/ringside/uploader/head"
)

// server is a real Prometheus, which may be started more than once.
type server struct {
	t    *testing.T
	dir  string
	url  string
	args []string
	cmd  *exec.Cmd
	log  bytes.Buffer
}

func newServer(t *testing.T, target string, features ...string) *server {
	t.Helper()
	if os.Getenv("PROMETHEUS") == "" {
		t.Skip("SKIP: PROMETHEUS does not name a Prometheus; make bin/prometheus builds one")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf(`
global: {scrape_interval: 200ms, scrape_timeout: 200ms, external_labels: {replica: a}}
storage: {tsdb: {out_of_order_time_window: 10m}}
scrape_configs: [{job_name: one, static_configs: [{targets: [%q]}]}]
`, target)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: filepath.Join(dir, "data"), url: "http://" + address}
	s.args = []string{
		"--config.file=" + config, "--storage.tsdb.path=" + s.dir, "--web.listen-address=" + address,
		"--web.enable-remote-write-receiver", "--log.level=warn",
	}
	for _, f := range features {
		s.args = append(s.args, "--enable-feature="+f)
	}
	t.Cleanup(func() {
		if s.cmd != nil {
			s.cmd.Process.Kill()
			s.cmd.Wait()
		}
		if t.Failed() {
			t.Log(s.log.String())
		}
	})
	return s
}

func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(os.Getenv("PROMETHEUS"), s.args...)
	s.cmd.Stderr = &s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.wait("it is ready", func() bool {
		resp, err := http.Get(s.url + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func (s *server) stop(signal os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
	err := s.cmd.Wait()
	if signal == syscall.SIGTERM && err != nil {
		s.t.Fatal(err)
	}
	s.cmd = nil
}

func (s *server) wait(what string, done func() bool) {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// write sends samples by remote write.
func (s *server) write(name string, times ...int64) {
	s.t.Helper()
	series := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: name}}}
	for _, at := range times {
		series.Samples = append(series.Samples, prompb.Sample{Timestamp: at, Value: float64(at % 1000)})
	}
	body, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{series}}).Marshal()
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.Post(s.url+"/api/v1/write", "application/x-protobuf", bytes.NewReader(s2.EncodeSnappy(nil, body)))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(resp.Body)
		s.t.Fatalf("write %s: %s: %s", name, resp.Status, text)
	}
}

// holds is what the server answers when asked for all of the last hour.
func (s *server) holds() contents {
	s.t.Helper()
	resp, err := http.Get(s.url + "/api/v1/query?query=" + url.QueryEscape(`{__name__=~".+"}[1h]`))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Data struct {
			Result []struct {
				Metric labels.Labels
				Values [][2]any
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		s.t.Fatal(err)
	}
	all := contents{}
	for _, r := range answer.Data.Result {
		for _, v := range r.Values {
			k := key{r.Metric.String(), int64(v[0].(float64)*1000 + 0.5)}
			all[k] = append(all[k], v[1].(string))
		}
	}
	return all
}

// TestPrometheus has a real server scrape, receive samples late and out of
// order, end well and badly, and come back after each flush. In the end the
// blocks hold all samples that it ever told of, and none twice; and it still
// knows all of them.
func TestPrometheus(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := range 20 {
			fmt.Fprintf(w, "value{i=\"%d\"} %d\n", i, time.Now().UnixNano()%1e6)
		}
	}))
	t.Cleanup(target.Close)
	for _, features := range [][]string{nil, {"memory-snapshot-on-shutdown"}} {
		t.Run(fmt.Sprint(features), func(t *testing.T) {
			t.Parallel()
			s := newServer(t, target.Listener.Addr().String(), features...)
			told := contents{}
			for round, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGKILL, syscall.SIGTERM} {
				s.start()
				now := time.Now().UnixMilli()
				s.write("late", now)
				s.write("late", each(now-5*minute+int64(round), now-1, 10_000)...)
				seen := len(s.holds())
				s.wait("it has scraped", func() bool { return len(s.holds()) > seen+100 })
				if _, err := head.Flush(t.Context(), s.dir, head.Options{}, quiet); !errors.Is(err, head.ErrLocked) {
					t.Fatalf("while it runs: %v", err)
				}
				for k, texts := range s.holds() {
					told[k] = texts
				}
				s.stop(signal)
				flush(t, s.dir)
			}
			got, metas := inBlocks(t, s.dir)
			aligned(t, metas)
			once(t, got, told)

			s.start()
			s.wait("it has scraped", func() bool { return len(s.holds()) > len(got) })
			holds := s.holds()
			for k := range got {
				if len(holds[k]) == 0 {
					t.Errorf("%s at %d is in a block, but the server does not know it", k.series, k.t)
				}
			}
			s.stop(syscall.SIGTERM)
		})
	}
}

// once wants every sample that was told of, and none twice.
func once(t *testing.T, got, told contents) {
	t.Helper()
	for k, texts := range got {
		if len(texts) != 1 {
			t.Errorf("%s at %d: %d times", k.series, k.t, len(texts))
		}
	}
	lost := 0
	for k, texts := range told {
		v, err := strconv.ParseFloat(texts[0], 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := got[k]; len(got) == 0 || got[0] != floatText(v) {
			if lost++; lost < 5 {
				t.Errorf("%s at %d: %q in blocks, %v told", k.series, k.t, got, v)
			}
		}
	}
	if lost > 0 || len(told) < 500 {
		t.Errorf("%d of %d samples are lost", lost, len(told))
	}
}
