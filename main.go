// Ringside runs beside a Prometheus server, shares its scrape targets with the
// other servers of the fleet, and keeps its configuration up to date.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/version"

	"github.com/ringside-project/ringside/agent"
	"github.com/ringside-project/ringside/config"
	"github.com/ringside-project/ringside/gossip"
)

func main() {
	if err := command(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		var logged loggedError
		if !errors.As(err, &logged) {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
}

// loggedError is an error that the log has told already.
type loggedError struct{ error }

func (e loggedError) Unwrap() error { return e.error }

// runFlags are those of ringside run.
type runFlags struct {
	agent.Options
	logFlags
}

// logFlags say what is logged, and how.
type logFlags struct {
	logLevel  string
	logFormat string
}

func (f *logFlags) add(cmd *kingpin.CmdClause) {
	cmd.Flag("log.level", "debug, info, warn or error.").Default("info").EnumVar(&f.logLevel, "debug", "info", "warn", "error")
	cmd.Flag("log.format", "logfmt or json.").Default("logfmt").EnumVar(&f.logFormat, "logfmt", "json")
}

// configFlags say which ringside.yml to load.
type configFlags struct {
	configFile string
	expandEnv  bool
}

func (f *configFlags) add(cmd *kingpin.CmdClause) {
	cmd.Flag("config.file", "Ringside's configuration.").Default("ringside.yml").StringVar(&f.configFile)
	cmd.Flag("config.expand-env", "Replace ${NAME} in it from the environment; $$ is a dollar sign.").BoolVar(&f.expandEnv)
}

// command does what the arguments say.
func command(args []string, stdout, stderr io.Writer) error {
	app, do := newApplication(stdout, stderr)
	args = withoutEquals(args)
	if !completesCommand(args) {
		app.GetCommand("run").Default()
	}
	chosen, err := app.Parse(args)
	if err != nil {
		return fmt.Errorf("ringside: %w; see ringside --help", err)
	}
	if do[chosen] == nil {
		return fmt.Errorf("ringside: no command %q", chosen)
	}
	return do[chosen]()
}

// about is what ringside --help says first.
const about = `A sidecar for stateless Prometheus servers that share their scrape targets, with nobody in charge. ` +
	`"ringside help run" lists the flags to run it with, "ringside help COMMAND" those of a command, "ringside --help-long" all.`

// newApplication returns the command line, and what each of its commands does.
func newApplication(stdout, stderr io.Writer) (app *kingpin.Application, do map[string]func() error) {
	app = kingpin.New("ringside", about)
	app.Version(version.Print("ringside"))
	app.UsageWriter(stdout)
	app.ErrorWriter(stderr)
	app.HelpFlag.Short('h')
	kingpin.BashCompletionTemplate = strings.ReplaceAll(kingpin.BashCompletionTemplate, "-- ${cur}", "-- ${cur#=}") // see withoutEquals

	run, rf := addRun(app)
	check := app.Command("check-config", "Check ringside.yml and the prometheus.yml that it names: exit 0, or 1 with what is wrong and what to write instead.")
	checkFile := check.Arg("FILE", "The ringside.yml to check.").Required().String()
	checkExpand := check.Flag("config.expand-env", "Replace ${NAME} from the environment; $$ is a dollar sign.").Bool()
	keygen := app.Command("keygen", "Print a new gossip key.")
	explain, ef := addExplain(app)
	simulate, sf := addSimulate(app)
	flush, ff := addFlush(app)
	bucket := addBucket(app)
	return app, map[string]func() error{
		run.FullCommand():           func() error { return runAgent(*rf, stderr) },
		check.FullCommand():         func() error { return checkConfig(*checkFile, *checkExpand, stdout) },
		keygen.FullCommand():        func() error { return printKey(stdout) },
		explain.FullCommand():       func() error { return explainTarget(*ef, stdout) },
		simulate.FullCommand():      func() error { return simulateChange(*sf, stdout) },
		flush.FullCommand():         func() error { return flushHead(*ff, stdout, stderr) },
		bucket.list.FullCommand():   func() error { return bucket.run(false, stdout, stderr) },
		bucket.verify.FullCommand(): func() error { return bucket.run(true, stdout, stderr) },
	}
}

func printKey(stdout io.Writer) error {
	key, err := gossip.GenerateKey()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, key)
	return err
}

// completesCommand tells whether a shell asks what its first word may become.
// kingpin names the flags of the default command then, and no command.
func completesCommand(args []string) bool {
	return len(args) == 2 && args[0] == "--completion-bash" && !strings.HasPrefix(args[1], "-")
}

// withoutEquals makes --flag = value, as bash parts a word to be completed, --flag value: so
// kingpin knows it. Of a value that has not been begun, bash gives the = alone.
func withoutEquals(args []string) []string {
	if len(args) == 0 || args[0] != "--completion-bash" {
		return args
	}
	last := len(args) - 1
	words := slices.DeleteFunc(slices.Clone(args[:last]), func(word string) bool { return word == "=" })
	return append(words, strings.TrimPrefix(args[last], "="))
}

func addRun(app *kingpin.Application) (*kingpin.CmdClause, *runFlags) {
	f := &runFlags{}
	run := app.Command("run", "Run the sidecar; the default command.")
	run.Flag("config.file", "Ringside's configuration.").Default("ringside.yml").StringVar(&f.ConfigFile)
	run.Flag("config.expand-env", "Replace ${NAME} in it from the environment; $$ is a dollar sign.").BoolVar(&f.ExpandEnv)
	run.Flag("web.listen-address", "Address of health, metrics, the status API and the page.").Default(":9590").StringVar(&f.ListenAddress)
	run.Flag("web.config.file", "exporter-toolkit's web configuration, for TLS and basic authentication.").StringVar(&f.WebConfigFile)
	run.Flag("web.enable-lifecycle", "Serve /-/drain and /-/quit.").BoolVar(&f.EnableLifecycle)
	run.Flag("web.enable-pprof", "Serve profiles at /debug/pprof/.").BoolVar(&f.EnablePprof)
	f.logFlags.add(run)
	return run, f
}

func newLogger(f logFlags, w io.Writer) log.Logger {
	w = log.NewSyncWriter(w)
	logger := log.NewLogfmtLogger(w)
	if f.logFormat == "json" {
		logger = log.NewJSONLogger(w)
	}
	logger = log.With(logger, "ts", log.DefaultTimestampUTC, "caller", log.Caller(5)) // 5: through the filter
	return level.NewFilter(logger, level.Allow(level.ParseDefault(f.logLevel, level.InfoValue())))
}

// runAgent runs a sidecar and logs why it ended.
func runAgent(f runFlags, stderr io.Writer) error {
	logger := newLogger(f.logFlags, stderr)
	level.Info(logger).Log("msg", "starting ringside", "version", version.Info(), "build", version.BuildContext())
	limitMemory(logger)
	defer time.AfterFunc(startTakes, debug.FreeOSMemory).Stop()
	if err := untilSignal(f, logger); err != nil {
		level.Error(logger).Log("msg", "ringside ends", "err", err)
		return loggedError{err}
	}
	level.Info(logger).Log("msg", "ringside ends")
	return nil
}

// untilSignal runs a sidecar until SIGTERM or SIGINT, and then until it has
// handed over its targets; another one, not at once, ends the process.
func untilSignal(f runFlags, logger log.Logger) error {
	cfg, err := config.Load(f.ConfigFile, f.ExpandEnv)
	if err != nil {
		return err
	}
	if err := agent.CheckFiles(cfg); err != nil {
		return config.Locate(f.ConfigFile, f.ExpandEnv, err)
	}
	a, err := agent.New(cfg, f.Options, logger, prometheus.NewRegistry())
	if err != nil {
		return config.Locate(f.ConfigFile, f.ExpandEnv, err)
	}
	ctx, end := context.WithCancel(context.Background())
	defer end()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	go onSignal{logger, a.RequestReload, end, func() { os.Exit(1) }}.obey(signals)
	return a.Run(ctx)
}

// onSignal is what signals ask for.
type onSignal struct {
	logger log.Logger
	reload func() // SIGHUP
	end    func() // the first of the others
	abort  func() // a later one
}

// oneAsk is how long after the first signal to end another is the same wish:
// wrappers and process groups pass one on that the process has had already.
const oneAsk = time.Second

func (o onSignal) obey(signals <-chan os.Signal) {
	var asked time.Time // to end; zero: not yet
	for s := range signals {
		switch {
		case s == syscall.SIGHUP:
			o.reload()
		case asked.IsZero():
			asked = time.Now()
			level.Info(o.logger).Log("msg", "asked to end: handing over first; ask again to end at once", "signal", s)
			o.end()
		case time.Since(asked) < oneAsk:
			level.Info(o.logger).Log("msg", "asked to end twice within a second, which counts once", "signal", s)
		default:
			level.Error(o.logger).Log("msg", "asked again: ending at once, targets are left behind", "signal", s)
			o.abort()
		}
	}
}

// startTakes is about how long a start takes. What it needed beyond what an idle sidecar
// needs is given back to the system then, which Go would do little by little.
const startTakes = 30 * time.Second

// gcPercent is for a heap that is small and hardly changes: memory beside
// Prometheus is worth more than the little work of collecting it more often.
const gcPercent = 50

// limitMemory has the garbage collected early, unless GOGC says when, and sets
// Go's memory limit to 0.9 of the cgroup's, unless GOMEMLIMIT says otherwise.
func limitMemory(logger log.Logger) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if limit := os.Getenv("GOMEMLIMIT"); limit != "" {
		level.Info(logger).Log("msg", "memory limit taken from the environment", "GOMEMLIMIT", limit)
		return
	}
	limit, err := memlimit.FromCgroup()
	if err != nil || limit > math.MaxInt64 {
		level.Debug(logger).Log("msg", "no memory limit: the cgroup has none", "err", err)
		return
	}
	limit = limit / 10 * 9
	debug.SetMemoryLimit(int64(limit))
	level.Info(logger).Log("msg", "memory limit set to 0.9 of the cgroup's", "GOMEMLIMIT", limit)
}

// checkConfig reports on a ringside.yml and on the source that it names.
func checkConfig(path string, expandEnv bool, stdout io.Writer) error {
	cfg, err := config.Load(path, expandEnv)
	if err != nil {
		return err
	}
	warnings, err := agent.Check(cfg)
	for _, w := range warnings {
		fmt.Fprintf(stdout, "warning: %s\n", w)
	}
	if err != nil {
		return config.Locate(path, expandEnv, err)
	}
	_, err = fmt.Fprintf(stdout, "%s is good: member %s of cluster %s, source %s, replicas %d\n",
		path, cfg.Cluster.Node, cfg.Cluster.Name, cfg.Prometheus.ConfigFile, cfg.Scrape.Replicas)
	return err
}
