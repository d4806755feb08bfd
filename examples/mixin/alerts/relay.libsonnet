// Do samples reach the upstreams.
local group = import 'group.libsonnet';

{
  prometheusAlerts+:: {
    groups+: [
      group('ringside-relay', $._config, [
        {
          alert: 'RingsideRelayUpstreamDown',
          severity: 'critical',
          expr: |||
            sum by (%(clusterLabel)s, %(memberLabel)s, upstream) (rate(ringside_relay_samples_total{%(ringsideSelector)s, outcome=~"failed|rejected"}[5m])) > 0
              unless
            sum by (%(clusterLabel)s, %(memberLabel)s, upstream) (rate(ringside_relay_samples_total{%(ringsideSelector)s, outcome="delivered"}[5m])) > 0
          |||,
          summary: 'Upstream {{ $labels.upstream }} takes nothing from {{ $labels.%(memberLabel)s }}.',
          description: 'For 5 minutes nothing that {{ $labels.%(memberLabel)s }} has sent to {{ $labels.upstream }} has been written. While a required upstream is down or answers 5xx or 429, Prometheus keeps its samples for about two hours, and all other upstreams wait with it; for a best-effort one they are dropped when its queue is full. What it answers with another 4xx, as after a change of credentials, is lost at once.',
        },
        {
          alert: 'RingsideRelayLagging',
          severity: 'warning',
          expr: |||
            ringside_relay_lag_seconds{%(ringsideSelector)s} > %(relayLagSeconds)d
              and on (%(clusterLabel)s, %(memberLabel)s)
            sum by (%(clusterLabel)s, %(memberLabel)s) (ringside_targets{%(ringsideSelector)s, phase!="unowned"}) > 0
          |||,
          summary: 'Upstream {{ $labels.upstream }} is behind for {{ $labels.%(memberLabel)s }}.',
          description: 'The newest sample of {{ $labels.%(memberLabel)s }} that {{ $labels.upstream }} has acknowledged is {{ $value | humanizeDuration }} old. A required upstream that is down holds up all the others: look first for one that fails.',
        },
        {
          alert: 'RingsideRelayNearLoss',
          severity: 'critical',
          expr: |||
            ringside_relay_lag_seconds{%(ringsideSelector)s} > %(relayLossSeconds)d
              and on (%(clusterLabel)s, %(memberLabel)s)
            sum by (%(clusterLabel)s, %(memberLabel)s) (ringside_targets{%(ringsideSelector)s, phase!="unowned"}) > 0
          |||,
          summary: 'Samples of {{ $labels.%(memberLabel)s }} for {{ $labels.upstream }} are about to be lost.',
          description: '{{ $labels.upstream }} is {{ $value | humanizeDuration }} behind for {{ $labels.%(memberLabel)s }}, by its own fault or held up by a required upstream that is down. Prometheus keeps about two hours in its write-ahead log; what is older is never sent.',
        },
        {
          alert: 'RingsideRelaySamplesRejected',
          severity: 'warning',
          expr: 'sum by (%(clusterLabel)s, upstream) (rate(ringside_relay_samples_total{%(ringsideSelector)s, outcome="rejected"}[5m])) > 0',
          'for': '10m',
          summary: 'Upstream {{ $labels.upstream }} rejects samples.',
          description: '{{ $labels.upstream }} rejects {{ $value | humanize }} samples a second for good. They are not sent again.',
        },
        {
          alert: 'RingsideRelaySamplesDropped',
          severity: 'warning',
          expr: 'sum by (%(clusterLabel)s, upstream) (rate(ringside_relay_samples_total{%(ringsideSelector)s, outcome="dropped"}[5m])) > 0',
          summary: 'Samples for {{ $labels.upstream }} are dropped.',
          description: 'The queue of the best-effort upstream {{ $labels.upstream }} is full: {{ $value | humanize }} samples a second are dropped.',
        },
        {
          alert: 'RingsideRelayBreakerOpen',
          severity: 'warning',
          expr: 'count by (%(clusterLabel)s, upstream, %(endpointLabel)s) (ringside_relay_breaker_open{%(ringsideSelector)s} == 1) > 0',
          summary: 'Endpoint {{ $labels.%(endpointLabel)s }} of {{ $labels.upstream }} fails.',
          description: 'For 5 minutes {{ $value }} members have sent nothing but single tries to {{ $labels.%(endpointLabel)s }}, since all before failed. With copies on other endpoints nothing is lost.',
        },
        {
          alert: 'RingsideRelayUpstreamSlow',
          severity: 'warning',
          expr: |||
            histogram_quantile(0.99,
              sum by (%(clusterLabel)s, upstream, %(endpointLabel)s, le) (rate(ringside_relay_request_duration_seconds_bucket{%(ringsideSelector)s}[5m]))
            ) > %(relayRequestSeconds)d
          |||,
          'for': '15m',
          summary: 'Endpoint {{ $labels.%(endpointLabel)s }} of {{ $labels.upstream }} is slow.',
          description: '1%% of the requests to {{ $labels.%(endpointLabel)s }} take longer than {{ $value | humanizeDuration }}. After 25s a request has failed.',
        },
        {
          alert: 'RingsideRelayOverloaded',
          severity: 'warning',
          expr: 'rate(ringside_relay_rejected_requests_total{%(ringsideSelector)s, reason="overloaded"}[5m]) > 0',
          'for': '10m',
          summary: 'The relay of {{ $labels.%(memberLabel)s }} has no room.',
          description: '{{ $labels.%(memberLabel)s }} turns {{ $value | humanize }} requests a second away, for too many bytes are under way to slow upstreams. Prometheus sends them again.',
        },
        {
          alert: 'RingsideRelayRequestsRejected',
          severity: 'warning',
          // Each compared by itself: both have the same reasons from the start.
          expr: |||
            rate(ringside_relay_rejected_requests_total{%(ringsideSelector)s, reason!="overloaded"}[5m]) > 0
              or
            rate(ringside_feedback_rejected_requests_total{%(ringsideSelector)s}[5m]) > 0
          |||,
          'for': '10m',
          summary: 'Sidecar {{ $labels.%(memberLabel)s }} cannot take what it is sent.',
          description: '{{ $labels.%(memberLabel)s }} rejects remote writes: {{ $labels.reason }}. Something else than its own Prometheus writes to it, or Prometheus sends what it cannot read.',
        },
        {
          alert: 'RingsideRelayHashringInvalid',
          severity: 'warning',
          expr: 'ringside_relay_hashring_last_reload_successful{%(ringsideSelector)s} == 0',
          summary: 'The hashring file for {{ $labels.upstream }} is not usable.',
          description: '{{ $labels.%(memberLabel)s }} cannot use the hashring file of {{ $labels.upstream }} as it is now, and goes on with the one before. After a restart it would not come up.',
        },
      ]),
    ],
  },
}
