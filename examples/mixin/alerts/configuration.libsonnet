// Can members read, write and load what they should run with.
local discovery = import '../discovery.libsonnet';
local group = import 'group.libsonnet';

{
  prometheusAlerts+:: {
    groups+: [
      group('ringside-configuration', $._config, [
        {
          alert: 'RingsideConfigReloadFailed',
          severity: 'warning',
          expr: 'ringside_config_last_reload_successful{%(ringsideSelector)s} == 0',
          summary: 'Configuration of {{ $labels.%(memberLabel)s }} is not usable.',
          description: 'ringside.yml or the source prometheus.yml of {{ $labels.%(memberLabel)s }} has an error. The last good one stays in force until it restarts.',
        },
        {
          alert: 'RingsidePrometheusConfigNotLoaded',
          severity: 'warning',
          expr: |||
            ringside_prometheus_config_loaded{%(ringsideSelector)s} == 0
              and
            ringside_prometheus_ready{%(ringsideSelector)s} == 1
          |||,
          'for': '10m',
          summary: 'Prometheus beside {{ $labels.%(memberLabel)s }} does not take its configuration.',
          description: 'Prometheus beside {{ $labels.%(memberLabel)s }} does not run with the configuration that was generated last: it refuses it, or cannot be told of it. New jobs are not scraped there.',
        },
        {
          alert: 'RingsideFileWritesFailing',
          severity: 'critical',
          expr: 'increase(ringside_file_write_errors_total{%(ringsideSelector)s}[5m]) > 0',
          summary: 'Sidecar {{ $labels.%(memberLabel)s }} cannot write its files.',
          description: '{{ $labels.%(memberLabel)s }} cannot write target files or the generated configuration: the disk is full, or the directory is not writable. The old files stay; its Prometheus gets no new targets.',
        },
        {
          alert: 'RingsideDiscoveryFailing',
          severity: 'warning',
          // Each compared by itself: a or b is a wherever both are there, be it 0. The
          // window is longer than what those that poll wait, 5 minutes with some.
          expr: std.join('\n  or\n', [
            'sum by (%%(clusterLabel)s, %%(memberLabel)s) (rate(ringside_prometheus_sd_%s_total{%%(ringsideSelector)s}[10m])) > 0' % counter
            for counter in std.objectFields(discovery.own) + [discovery.polled]
          ] + ['sum by (%(clusterLabel)s, %(memberLabel)s) (ringside_prometheus_sd_failed_configs{%(ringsideSelector)s}) > 0']),
          'for': '15m',
          summary: 'Service discovery of {{ $labels.%(memberLabel)s }} fails.',
          description: 'For 15 minutes a service discovery of {{ $labels.%(memberLabel)s }} has been failing; its log and the fleet dashboard say which. Known targets stay; new ones are not found.',
        },
        {
          alert: 'RingsideInvalidTargets',
          severity: 'warning',
          expr: 'max by (%(clusterLabel)s, %(targetJobLabel)s) (ringside_invalid_targets{%(ringsideSelector)s}) > 0',
          'for': '15m',
          summary: 'Targets of job {{ $labels.%(targetJobLabel)s }} are refused.',
          description: '{{ $value }} targets that job {{ $labels.%(targetJobLabel)s }} discovers cannot be scraped: after relabelling they have no address, or labels that Prometheus refuses.',
        },
        {
          alert: 'RingsideSourceConfigsDiffer',
          severity: 'warning',
          expr: 'max by (%(clusterLabel)s) (ringside_cluster_source_configs{%(ringsideSelector)s}) > 1',
          'for': '30m',
          summary: 'Members of cluster {{ $labels.%(clusterLabel)s }} have different source configurations.',
          description: 'For 30 minutes the active members have had {{ $value }} different prometheus.yml or sharding options. A job that not all of them have is shared by those that do; a change of its rules hands nothing over until all have it.',
        },
        {
          alert: 'RingsideVersionsDiffer',
          severity: 'info',
          expr: 'count by (%(clusterLabel)s) (count by (%(clusterLabel)s, version) (ringside_build_info{%(ringsideSelector)s})) > 1',
          'for': '4h',
          summary: 'Members of cluster {{ $labels.%(clusterLabel)s }} run different versions.',
          description: 'For 4 hours {{ $value }} versions of Ringside have been running in one cluster: an upgrade has not come to its end.',
        },
      ]),
    ],
  },
}
