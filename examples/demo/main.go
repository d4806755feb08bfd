// Command demo shows Ringside at work on one machine: pairs of Prometheus and
// Ringside share the instances of the example service, and one may kill pairs
// and start them again while a live view shows where the targets go. Everything
// that it starts ends with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/term"
)

// options are the flags.
type options struct {
	ringside, prometheus, ledger, rules string
	pairs, instances                    int
	dir                                 string
	runFor                              time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func parseFlags(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.StringVar(&o.ringside, "ringside", "bin/ringside", "`path` of the binary")
	f.StringVar(&o.prometheus, "prometheus", "bin/prometheus", "`path` of the binary; one of a release has web pages, too")
	f.StringVar(&o.ledger, "ledger", "bin/ledger", "`path` of the binary")
	f.StringVar(&o.rules, "rules", "", "rule `file` for Prometheus to evaluate; default none")
	f.IntVar(&o.pairs, "pairs", 3, "how many pairs of Prometheus and Ringside, 1 to 9")
	f.IntVar(&o.instances, "instances", 60, "how many instances of the example service")
	f.StringVar(&o.dir, "dir", "", "`directory` for configurations, data and logs; default a temporary one that is removed in the end")
	f.DurationVar(&o.runFor, "for", 0, "end after this time; it is an error when the pairs have not settled by then")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.pairs < 1 || o.pairs > 9:
		return o, fmt.Errorf("--pairs is %d; give 1 to 9", o.pairs)
	case o.instances < 1:
		return o, fmt.Errorf("--instances is %d; give 1 or more", o.instances)
	}
	for _, path := range []*string{&o.ringside, &o.prometheus, &o.ledger, &o.rules, &o.dir} {
		if *path == "" {
			continue
		}
		var err error
		if *path, err = filepath.Abs(*path); err != nil {
			return o, fmt.Errorf("make %s absolute: %w", *path, err)
		}
	}
	return o, nil
}

// run plays the demo until ctx ends, somebody quits or the time is up.
func run(ctx context.Context, args []string, in, out *os.File) error {
	o, err := parseFlags(args)
	if err != nil {
		return err
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "ringside-demo-"); err != nil {
			return fmt.Errorf("make a directory: %w", err)
		}
		defer os.RemoveAll(o.dir)
	}
	s, err := newStage(o)
	if err != nil {
		return err
	}
	defer s.close()
	if o.runFor > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.runFor)
		defer cancel()
	}
	if err := s.show(ctx, newScreen(in, out)); err != nil {
		return err
	}
	return s.outcome(o.runFor)
}

// screen is where a demo is shown: a terminal, or whatever takes lines.
type screen interface {
	draw(view)
	keys() <-chan byte // nil where there are none
	close()
}

func newScreen(in, out *os.File) screen {
	if term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd())) {
		if t, err := openTerminal(in, out); err == nil {
			return t
		}
	}
	return &lines{out: out}
}

// lines is a screen without a terminal: what has changed, one line each.
type lines struct {
	out  io.Writer
	last string
	told int // moves
}

func (l *lines) keys() <-chan byte { return nil }
func (l *lines) close()            {}

func (l *lines) draw(v view) {
	if l.last == "" {
		for _, p := range v.pairs {
			fmt.Fprintf(l.out, "%s: status %s, Prometheus %s\n", p.name, p.statusURL, p.targetsURL())
		}
	}
	for ; l.told < len(v.moves); l.told++ {
		m := v.moves[l.told]
		fmt.Fprintf(l.out, "%s %s\n", m.at.Format(time.TimeOnly), m.text())
	}
	if now := v.summary(); now != l.last {
		fmt.Fprintf(l.out, "%s %s\n", v.at.Format(time.TimeOnly), now)
		l.last = now
	}
}
