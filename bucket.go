package main

import (
	"context"
	"errors"
	"io"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ringside-project/ringside/config"
	"github.com/ringside-project/ringside/uploader/bucket"
	"github.com/ringside-project/ringside/uploader/ship"
)

// bucketCommand is ringside bucket ls and ringside bucket verify.
type bucketCommand struct {
	list, verify *kingpin.CmdClause
	flags        struct {
		configFlags
		logFlags
		hashes bool
	}
}

func addBucket(app *kingpin.Application) *bucketCommand {
	c := &bucketCommand{}
	bucket := app.Command("bucket", "Look at the blocks in the bucket that ringside.yml names.")
	c.flags.configFlags.add(bucket)
	c.list = bucket.Command("ls", "List them by their labels and time, and tell which lack files. Sizes and contents are for verify to compare.")
	c.verify = bucket.Command("verify", "Compare them with what their meta.json says, and look for overlaps, and for gaps of more than 5 minutes, "+
		"Prometheus's lookback: shorter ones are in no graph. Exit 0, gaps or not, or 1 with what is wrong.")
	c.verify.Flag("hashes", "Compare contents too, which reads all of them.").BoolVar(&c.flags.hashes)
	c.flags.logFlags.add(bucket)
	return c
}

var errBucket = errors.New("the bucket is not as it should be")

func (c *bucketCommand) run(verify bool, stdout, stderr io.Writer) error {
	cfg, err := config.Load(c.flags.configFile, c.flags.expandEnv)
	if err != nil {
		return err
	}
	bkt, err := cfg.Uploader.OpenBucket(newLogger(c.flags.logFlags, stderr))
	if err != nil {
		return err
	}
	defer bkt.Close()
	if err := bucket.There(bkt); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	listing, err := ship.List(ctx, bkt)
	if err != nil {
		return err
	}
	if !verify {
		return listing.WriteTable(stdout, bkt.Name())
	}
	report, err := ship.Verify(ctx, bkt, listing, c.flags.hashes)
	if err != nil {
		return err
	}
	if err := report.WriteText(stdout, bkt.Name()); err != nil {
		return err
	}
	if !report.OK() {
		return errBucket
	}
	return nil
}
