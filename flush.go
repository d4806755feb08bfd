package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log/level"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/ringside-project/ringside/agent"
	"github.com/ringside-project/ringside/config"
	"github.com/ringside-project/ringside/uploader"
)

// flushFlags are those of ringside flush.
type flushFlags struct {
	configFlags
	logFlags
	blockDuration time.Duration
}

func addFlush(app *kingpin.Application) (*kingpin.CmdClause, *flushFlags) {
	f := &flushFlags{}
	flush := app.Command("flush", "Cut the head that a Prometheus has left into blocks, and upload all blocks, as a sidecar does in the end: for a data directory that neither uses any more.")
	f.configFlags.add(flush)
	flush.Flag("min-block-duration", "That Prometheus's --storage.tsdb.min-block-duration.").Default("2h").DurationVar(&f.blockDuration)
	f.logFlags.add(flush)
	return flush, f
}

// flushHead flushes the data directory that the configuration names, and tells
// what came of it.
func flushHead(f flushFlags, stdout, stderr io.Writer) error {
	if f.blockDuration <= 0 {
		return fmt.Errorf("--min-block-duration: %s; give that Prometheus's own, above 0, such as 2h", f.blockDuration)
	}
	cfg, err := config.Load(f.configFile, f.expandEnv)
	if err != nil {
		return err
	}
	logger := newLogger(f.logFlags, stderr)
	limitMemory(logger)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	status, err := agent.Flush(ctx, cfg, f.blockDuration, logger)
	if err != nil {
		level.Error(logger).Log("msg", "not all is done", "err", err)
		err = loggedError{err}
	}
	if status.Flush.State != "" { // it has begun
		printFlushed(status, err != nil, stdout)
	}
	return err
}

func printFlushed(s uploader.Status, left bool, stdout io.Writer) {
	fmt.Fprintf(stdout, "head: %d samples in %d new blocks\n", s.Flush.Samples, len(s.Flush.Blocks))
	if s.Bucket == nil {
		fmt.Fprintln(stdout, "bucket: ringside.yml names none; the blocks stay where they are")
		return
	}
	verb := "holds"
	if left {
		verb = "does not hold"
	}
	fmt.Fprintf(stdout, "bucket %s: it %s all of this data directory, whose labels are %s\n", s.Bucket.Name, verb, labels.FromMap(s.Labels))
}
