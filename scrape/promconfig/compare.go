package promconfig

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/file"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
)

// compare has Prometheus parse the generated text and checks that it means what
// the source means, apart from the discoveries and what is added. It returns the
// generated configuration. src's paths are absolute.
func compare(text []byte, src *config.Config, jobs []Job, opt Options) (*config.Config, error) {
	gen, err := parse(text)
	if err != nil {
		return nil, refusedGenerated(err)
	}
	gen.SetDirectory(filepath.Dir(opt.GeneratedFile))
	scrapes, err := gen.GetScrapeConfigs()
	if err != nil {
		return nil, refusedGenerated(err)
	}
	where := difference(withoutAdded(*src), withoutAdded(*gen))
	if where == "" {
		where = added(src, gen, opt)
	}
	if where == "" {
		where = jobsDifference(jobs, scrapes)
	}
	if where != "" {
		return nil, fmt.Errorf("internal error: the generated file differs from the source in %s "+
			"(unless a file changed meanwhile); please report this with the source", where)
	}
	return gen, nil
}

func refusedGenerated(err error) error {
	return fmt.Errorf("internal error: Prometheus would refuse the generated file: %s; please report this with the source", redacted(err))
}

// withoutAdded blanks what may differ. What is added is checked by added.
func withoutAdded(cfg config.Config) config.Config {
	cfg.ScrapeConfigs, cfg.ScrapeConfigFiles = nil, nil
	cfg.RemoteWriteConfigs = nil
	cfg.GlobalConfig.ExternalLabels = labels.EmptyLabels()
	cfg.AlertingConfig.AlertRelabelConfigs = nil
	if cfg.GlobalConfig.MetricNameEscapingScheme == "" {
		// Without a global section Prometheus fills this in at once, with one
		// only for each job; nothing else reads it.
		cfg.GlobalConfig.MetricNameEscapingScheme = model.AllowUTF8
		if cfg.GlobalConfig.MetricNameValidationScheme == model.LegacyValidation {
			cfg.GlobalConfig.MetricNameEscapingScheme = model.EscapeUnderscores
		}
	}
	return cfg
}

// added checks the places to which something is added: what was there must be
// there, and what was added. It returns the place that is wrong, or "".
func added(src, gen *config.Config, opt Options) string {
	replica, others := "", labels.NewScratchBuilder(0)
	gen.GlobalConfig.ExternalLabels.Range(func(l labels.Label) {
		if l.Name == opt.ReplicaLabel {
			replica = l.Value
			return
		}
		others.Add(l.Name, l.Value)
	})
	if replica != opt.Replica || difference(src.GlobalConfig.ExternalLabels, others.Labels()) != "" {
		return "global.external_labels"
	}
	rules := gen.AlertingConfig.AlertRelabelConfigs
	if len(src.AlertingConfig.AlertmanagerConfigs) > 0 {
		if len(rules) == 0 || rules[0].Action != relabel.LabelDrop || !rules[0].Regex.MatchString(opt.ReplicaLabel) {
			return "alerting.alert_relabel_configs"
		}
		rules = rules[1:]
	}
	if difference(src.AlertingConfig.AlertRelabelConfigs, rules) != "" {
		return "alerting.alert_relabel_configs"
	}
	urls := []string{opt.FeedbackURL}
	if opt.RelayURL != "" {
		urls = append(urls, opt.RelayURL)
	}
	own := len(src.RemoteWriteConfigs)
	if len(gen.RemoteWriteConfigs) != own+len(urls) || difference(src.RemoteWriteConfigs, gen.RemoteWriteConfigs[:own]) != "" {
		return "remote_write"
	}
	for i, u := range urls {
		if gen.RemoteWriteConfigs[own+i].URL.String() != u {
			return "remote_write.url"
		}
	}
	return ""
}

func jobsDifference(jobs []Job, generated []*config.ScrapeConfig) string {
	if len(jobs) != len(generated) {
		return "the number of scrape_configs"
	}
	for i, job := range jobs {
		want, got := *job.Config, *generated[i]
		if err := onlyTargetFile(got, job.TargetFile); err != nil {
			return fmt.Sprintf("scrape_configs[%d]: %v", i, err)
		}
		if job.RestoreFilepath {
			got.RelabelConfigs = got.RelabelConfigs[min(2, len(got.RelabelConfigs)):]
		}
		want.ServiceDiscoveryConfigs, got.ServiceDiscoveryConfigs = nil, nil
		if where := difference(want, got); where != "" {
			return fmt.Sprintf("scrape_configs[%d]%s", i, where)
		}
	}
	return ""
}

func onlyTargetFile(job config.ScrapeConfig, name string) error {
	if len(job.ServiceDiscoveryConfigs) == 1 {
		if sd, ok := job.ServiceDiscoveryConfigs[0].(*file.SDConfig); ok && slices.Equal(sd.Files, []string{name}) {
			return nil
		}
	}
	return errors.New("discovery is not the target file alone")
}

// difference returns where two configurations differ, as a Go selector without
// the values, which may be secret, or "" where they do not. Empty and nil are
// the same, and so are regular expressions of the same text.
func difference(a, b any) string {
	return diff(reflect.ValueOf(a), reflect.ValueOf(b))
}

func diff(a, b reflect.Value) string {
	if a.IsValid() != b.IsValid() || a.IsValid() && a.Type() != b.Type() {
		return "(type)"
	}
	if !a.IsValid() {
		return ""
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() {
			return unless(a.IsNil() == b.IsNil())
		}
		if a.Kind() == reflect.Pointer && a.Pointer() == b.Pointer() {
			return ""
		}
		return diff(a.Elem(), b.Elem())
	case reflect.Struct:
		return diffStruct(a, b)
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() {
			return "(length)"
		}
		for i := range a.Len() {
			if where := diff(a.Index(i), b.Index(i)); where != "" {
				return fmt.Sprintf("[%d]%s", i, where)
			}
		}
	case reflect.Map:
		if a.Len() != b.Len() {
			return "(length)"
		}
		for _, key := range a.MapKeys() {
			if where := diff(a.MapIndex(key), b.MapIndex(key)); where != "" {
				return fmt.Sprintf("[%v]%s", key, where)
			}
		}
	case reflect.Float32, reflect.Float64:
		return unless(a.Float() == b.Float() || math.IsNaN(a.Float()) && math.IsNaN(b.Float()))
	case reflect.Func: // a cache in prometheus/common's ProxyConfig
	default:
		return unless(a.Equal(b))
	}
	return ""
}

func diffStruct(a, b reflect.Value) string {
	if a.CanInterface() {
		if re, ok := a.Interface().(relabel.Regexp); ok {
			return unless(re.String() == b.Interface().(relabel.Regexp).String())
		}
	}
	for i := range a.NumField() {
		if where := diff(a.Field(i), b.Field(i)); where != "" {
			return "." + a.Type().Field(i).Name + where
		}
	}
	return ""
}

func unless(equal bool) string {
	if equal {
		return ""
	}
	return "(value)"
}
