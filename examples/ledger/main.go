// Command ledger is an example of a target: a small account-ledger service with
// metrics. One process plays many instances, each with an address, ledgers and
// metrics of its own, and with very unequal numbers of series.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

const (
	seriesBesides   = 60 // about what an instance has besides its budgets
	shutdownTimeout = 5 * time.Second
)

// options are the flags.
type options struct {
	listenAddress string
	instances     int
	sdFile        string
	seed          uint64
	maxSeries     int
	load          float64
	latency       time.Duration
	errorRate     float64
	unready       int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "ledger:", err)
		os.Exit(1)
	}
}

func parseFlags(args []string, output io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("ledger", flag.ContinueOnError)
	f.SetOutput(output)
	f.StringVar(&o.listenAddress, "listen-address", "127.0.0.1:9700", "`host:port` of the first instance; the others take the ports that follow, or with port 0 each a free one")
	f.IntVar(&o.instances, "instances", 1, "how many instances to play")
	f.StringVar(&o.sdFile, "sd-file", "", "file_sd `file` (JSON) to write with all instances; GET /sd answers the same as http_sd")
	f.Uint64Var(&o.seed, "seed", 1, "what the numbers of series, and the load, are drawn from")
	f.IntVar(&o.maxSeries, "max-series", 5000, "about how many series an instance may have at most")
	f.Float64Var(&o.load, "load", 1, "requests a second to each instance; 0: none")
	f.DurationVar(&o.latency, "latency", 5*time.Millisecond, "median time that the database takes; with enough load, its connections run out")
	f.Float64Var(&o.errorRate, "error-rate", 0, "share of database queries that fail, from 0 to 1")
	f.IntVar(&o.unready, "unready", 0, "how many instances answer 503 at /ready and /metrics")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.instances < 1:
		return o, fmt.Errorf("--instances is %d; give 1 or more", o.instances)
	case o.maxSeries <= seriesBesides:
		return o, fmt.Errorf("--max-series is %d; give more than %d", o.maxSeries, seriesBesides)
	case !(o.load >= 0 && o.load <= 10000):
		return o, fmt.Errorf("--load is %v; give from 0 to 10000", o.load)
	case !(o.errorRate >= 0 && o.errorRate <= 1):
		return o, fmt.Errorf("--error-rate is %v; give from 0 to 1", o.errorRate)
	case o.latency < 0:
		return o, fmt.Errorf("--latency is %s; give 0s or more", o.latency)
	}
	return o, nil
}

// run binds and announces the instances, and plays them until ctx ends.
func run(ctx context.Context, args []string, stderr io.Writer) error {
	opts, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	listeners, err := listen(opts.listenAddress, opts.instances)
	if err != nil {
		return err
	}
	var addresses []string
	for _, l := range listeners {
		addresses = append(addresses, advertised(l))
	}
	sd := discovery(addresses)
	if opts.sdFile != "" {
		if err := writeFile(opts.sdFile, sd); err != nil {
			return fmt.Errorf("write --sd-file: %w", err)
		}
	}
	level.Info(log.NewLogfmtLogger(stderr)).Log("msg", "ledger is up", "instances", opts.instances, "first", addresses[0], "sd", "http://"+addresses[0]+"/sd")
	return play(ctx, opts, listeners, sd)
}

// play serves an instance on each listener until ctx ends or one fails.
func play(ctx context.Context, opts options, listeners []net.Listener, sd []byte) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	var running, loads sync.WaitGroup
	var servers []*http.Server
	for i, l := range listeners {
		rng := rand.New(rand.NewPCG(opts.seed, uint64(i)))
		ledgers := openLedgers(rng, opts.maxSeries-seriesBesides)
		s := newService(opts, ledgers, i >= opts.unready, sd)
		srv := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
		servers = append(servers, srv)
		running.Go(func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				stop(fmt.Errorf("serve %s: %w", l.Addr(), err))
			}
		})
		running.Go(func() { s.runTasks(ctx) })
		if opts.load > 0 {
			w := &workload{service: s, url: "http://" + l.Addr().String(), client: client, rate: opts.load, ledgers: ledgers, rng: rng}
			loads.Go(func() { w.run(ctx) })
		}
	}
	<-ctx.Done()
	loads.Wait()
	client.CloseIdleConnections()
	for _, srv := range servers {
		running.Go(func() { shutDown(srv) })
	}
	running.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// shutDown lets the server finish what it has begun.
func shutDown(srv *http.Server) {
	grace, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if srv.Shutdown(grace) != nil {
		srv.Close()
	}
}
