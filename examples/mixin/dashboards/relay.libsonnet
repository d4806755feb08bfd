// Do samples reach the upstreams, how fast, and if not, why.
local g = import 'grafana.libsonnet';
local queries = import 'queries.libsonnet';

{
  grafanaDashboards+:: {
    local c = $._config,
    local q = queries(c),

    local verdict = [
      g.stat(
        'Delivered',
        'Samples a second that the upstreams have acknowledged.',
        q.now('sum(rate(ringside_relay_samples_total{%(members)s, upstream=~"$upstream", outcome="delivered"}[$__rate_interval]))'),
        unit='cps'
      ),
      g.stat(
        'Lag',
        'Age of the newest sample that an upstream has acknowledged, of the worst member and upstream. Before there is one, that of the first batch that was not taken; 0 if there is neither.',
        q.now('max(ringside_relay_lag_seconds{%(members)s, upstream=~"$upstream"})'),
        unit='s',
        thresholds=g.steps([[c.relayLagSeconds, 'yellow'], [c.relayLossSeconds, 'red']])
      ),
      g.stat(
        'Failing',
        'Samples a second whose sending failed. They come again: from Prometheus, or from the queue of a best-effort upstream.',
        q.now('sum(rate(ringside_relay_samples_total{%(members)s, upstream=~"$upstream", outcome="failed"}[$__rate_interval]))'),
        unit='cps',
        thresholds=g.steps([[0.001, 'yellow']])
      ),
      g.stat(
        'Lost',
        'Samples a second that upstreams rejected for good, and that were dropped from full queues.',
        q.now('sum(rate(ringside_relay_samples_total{%(members)s, upstream=~"$upstream", outcome=~"rejected|dropped"}[$__rate_interval]))'),
        unit='cps',
        thresholds=g.steps([[0.001, 'red']])
      ),
      g.stat(
        'Open breakers',
        'Endpoints, as each member sees them, that get no requests because the last ones failed.',
        q.now('sum(ringside_relay_breaker_open{%(members)s, upstream=~"$upstream"})'),
        thresholds=g.steps([[1, 'red']])
      ),
      g.stat(
        'In flight',
        'Bytes that the requests under way take, in the member with the most. Over 128 MiB the relay turns requests away.',
        q.now('max(ringside_relay_in_flight_bytes{%(members)s})'),
        unit='bytes',
        thresholds=g.steps([[100663296, 'yellow'], [134217728, 'red']])
      ),
    ],

    local upstreams = [
      g.graph(
        'Samples by outcome',
        'Delivered; rejected for good; failed, which come again; filtered by write_relabel_configs; stale markers suppressed after a hand-over; dropped from a full queue.',
        [q.target('sum by (upstream, outcome) (rate(ringside_relay_samples_total{%(members)s, upstream=~"$upstream"}[$__rate_interval]))', '{{upstream}} {{outcome}}')],
        unit='cps'
      ) + g.half,
      g.graph(
        'Lag',
        'Age of the newest sample that an upstream has acknowledged, of each member. A required upstream that is down holds up all the others: the one that fails is to be mended.',
        [q.target('max by (%(memberLabel)s, upstream) (ringside_relay_lag_seconds{%(members)s, upstream=~"$upstream"})', '{{%(memberLabel)s}} {{upstream}}')],
        unit='s'
      ) + g.limit(c.relayLagSeconds) + q.status + g.half,
      g.graph(
        'Queue of best-effort upstreams',
        'Compressed bytes that wait. At queue_bytes (64 MiB) the oldest are dropped. Empty where all upstreams are required.',
        [q.target('max by (%(memberLabel)s, upstream) (ringside_relay_queue_bytes{%(members)s, upstream=~"$upstream"})', '{{%(memberLabel)s}} {{upstream}}')],
        unit='bytes'
      ) + q.status,
      g.graph(
        'Hashring files good',
        'Whether the hashring file could be used when it last changed. Empty where upstreams have none.',
        [q.target('min by (%(memberLabel)s, upstream) (ringside_relay_hashring_last_reload_successful{%(members)s, upstream=~"$upstream"})', '{{%(memberLabel)s}} {{upstream}}')],
        unit='bool_yes_no'
      ) + q.status,
      g.graph(
        'Stale markers suppressed',
        'Stale markers of targets that were handed over, kept from upstreams with replica_label: drop, where they would cut a gap.',
        [q.target('sum by (upstream) (rate(ringside_relay_samples_total{%(members)s, upstream=~"$upstream", outcome="suppressed"}[$__rate_interval]))', '{{upstream}}')],
        unit='cps'
      ),
    ],

    local endpoints = [
      g.graph(
        'Request duration',
        'Requests to each endpoint, failed ones included.',
        [
          q.target('histogram_quantile(%s, sum by (%%(endpointLabel)s, le) (rate(ringside_relay_request_duration_seconds_bucket{%%(members)s, upstream=~"$upstream"}[$__rate_interval])))' % p[0], p[1] + ' {{%(endpointLabel)s}}')
          for p in [['0.5', 'median'], ['0.99', 'p99']]
        ],
        unit='s'
      ) + g.half,
      g.graph(
        'Requests',
        'Requests to each endpoint.',
        [q.target('sum by (%(endpointLabel)s) (rate(ringside_relay_request_duration_seconds_count{%(members)s, upstream=~"$upstream"}[$__rate_interval]))', '{{%(endpointLabel)s}}')],
        unit='reqps'
      ) + g.half,
      g.graph(
        'Samples of each endpoint',
        'By outcome, each copy counted.',
        [q.target('sum by (%(endpointLabel)s, outcome) (rate(ringside_relay_endpoint_samples_total{%(members)s, upstream=~"$upstream"}[$__rate_interval]))', '{{%(endpointLabel)s}} {{outcome}}')],
        unit='cps'
      ),
      g.graph(
        'Bytes on their way to each endpoint',
        'Compressed bytes of requests that have not been answered.',
        [q.target('sum by (%(endpointLabel)s) (ringside_relay_endpoint_in_flight_bytes{%(members)s, upstream=~"$upstream"})', '{{%(endpointLabel)s}}')],
        unit='bytes'
      ),
      g.graph(
        'Open breakers',
        'Members that send nothing but single tries to an endpoint.',
        [q.target('sum by (%(endpointLabel)s) (ringside_relay_breaker_open{%(members)s, upstream=~"$upstream"})', '{{%(endpointLabel)s}}')]
      ),
    ],

    local intake = [
      g.graph(
        'Requests from Prometheus',
        'By outcome. Refused: an upstream did not take some of it for good; the rest is delivered. Failed: Prometheus sends it again.',
        [q.target('sum by (outcome) (rate(ringside_relay_requests_total{%(members)s}[$__rate_interval]))', '{{outcome}}')],
        unit='reqps'
      ),
      g.graph(
        'Requests turned away',
        'Requests that the relay itself rejects, by reason.',
        [q.target('sum by (reason) (rate(ringside_relay_rejected_requests_total{%(members)s}[$__rate_interval]))', '{{reason}}')],
        unit='reqps'
      ),
      g.graph(
        'Bytes under way',
        'What the requests under way take in each member: as they came, decoded, and rendered for the upstreams.',
        [q.target('ringside_relay_in_flight_bytes{%(members)s}', q.ofMember)],
        unit='bytes'
      ) + g.limit(134217728) + q.status,
    ],

    'ringside-relay.json': g.dashboard(
      c,
      'relay',
      'Ringside / Relay',
      'Remote write through the sidecars to the upstreams.',
      q.variables + [g.variable('upstream', 'Upstream', q.fill('ringside_relay_samples_total{%(members)s}'), 'upstream')],
      verdict +
      [g.row('Upstreams')] + upstreams +
      [g.row('Endpoints')] + endpoints +
      [g.row('From Prometheus')] + intake
    ),
  },
}
