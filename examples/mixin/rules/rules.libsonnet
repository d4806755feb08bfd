// What dashboards of more than one cluster, and autoscalers, want to have at hand.
// The series are named level:metric:operation, as Prometheus recommends.
{
  prometheusRules+:: {
    groups+: [
      {
        name: 'ringside-rules',
        rules: [
          {
            record: r.record,
            expr: std.rstripChars(r.expr % $._config, '\n'),
          }
          for r in [
            {
              record: 'cluster:ringside_members_active:min',
              expr: 'min by (%(clusterLabel)s) (ringside_cluster_members{%(ringsideSelector)s, state="active"})',
            },
            {
              // Of the targets in the files of all members: with replicas: 2 each counts twice.
              record: 'cluster_job_phase:ringside_targets:sum',
              expr: 'sum by (%(clusterLabel)s, %(targetJobLabel)s, phase) (ringside_targets{%(ringsideSelector)s, phase!="unowned"})',
            },
            {
              // Every member counts them all.
              record: 'cluster_job:ringside_targets_unowned:max',
              expr: 'max by (%(clusterLabel)s, %(targetJobLabel)s) (ringside_targets{%(ringsideSelector)s, phase="unowned"})',
            },
            {
              record: 'cluster:ringside_load_series:sum',
              expr: 'sum by (%(clusterLabel)s) (ringside_load_series{%(ringsideSelector)s})',
            },
            {
              // How much more the fullest member scrapes than the mean; 1 is ideal.
              record: 'cluster:ringside_load_series:max_over_mean',
              expr: |||
                max by (%(clusterLabel)s) (ringside_load_series{%(ringsideSelector)s})
                  /
                (avg by (%(clusterLabel)s) (ringside_load_series{%(ringsideSelector)s}) > 0)
              |||,
            },
            {
              record: 'cluster_reason:ringside_target_moves:rate5m',
              expr: 'sum by (%(clusterLabel)s, reason) (rate(ringside_target_moves_total{%(ringsideSelector)s}[5m]))',
            },
            {
              record: 'cluster:ringside_handover_duration_seconds:p99_15m',
              expr: 'histogram_quantile(0.99, sum by (%(clusterLabel)s, le) (rate(ringside_handover_duration_seconds_bucket{%(ringsideSelector)s}[15m])))',
            },
            {
              record: 'cluster_upstream_outcome:ringside_relay_samples:rate5m',
              expr: 'sum by (%(clusterLabel)s, upstream, outcome) (rate(ringside_relay_samples_total{%(ringsideSelector)s}[5m]))',
            },
            {
              record: 'cluster_upstream:ringside_relay_lag_seconds:max',
              expr: 'max by (%(clusterLabel)s, upstream) (ringside_relay_lag_seconds{%(ringsideSelector)s})',
            },
            {
              record: 'cluster_upstream:ringside_relay_request_duration_seconds:p99_5m',
              expr: 'histogram_quantile(0.99, sum by (%(clusterLabel)s, upstream, le) (rate(ringside_relay_request_duration_seconds_bucket{%(ringsideSelector)s}[5m])))',
            },
            {
              record: 'cluster:ringside_upload_lag_seconds:max',
              expr: 'max by (%(clusterLabel)s) (ringside_upload_lag_seconds{%(ringsideSelector)s})',
            },
            {
              record: 'cluster_outcome:ringside_upload_blocks:increase1h',
              expr: 'sum by (%(clusterLabel)s, outcome) (increase(ringside_upload_blocks_total{%(ringsideSelector)s}[1h]))',
            },
          ]
        ],
      },
    ],
  },
}
