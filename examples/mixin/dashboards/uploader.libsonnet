// Do blocks reach the bucket.
local g = import 'grafana.libsonnet';
local queries = import 'queries.libsonnet';

{
  grafanaDashboards+:: {
    local c = $._config,
    local q = queries(c),

    local verdict = [
      g.stat(
        'Bucket',
        'Whether the bucket serves every chosen member that has one.',
        q.now('min(ringside_upload_bucket_reachable{%(members)s} and ringside_upload_enabled{%(members)s} == 1)')
      ) + g.yes('reachable', 'unreachable'),
      g.stat(
        'Lag',
        'Age of the oldest block that is complete and neither in the bucket nor refused.',
        q.now('max(ringside_upload_lag_seconds{%(members)s})'),
        unit='s',
        thresholds=g.steps([[c.uploadLagSeconds, 'yellow'], [c.uploadBehindSeconds, 'red']])
      ),
      g.stat(
        'Refused blocks',
        'Blocks in the data directories that are not uploaded, or not all of them. The status pages say why.',
        q.now('sum(ringside_upload_refused_blocks{%(members)s})'),
        thresholds=g.steps([[1, 'red']])
      ),
      g.stat(
        'Failed attempts, 1h',
        'Uploads that failed within an hour. They are tried again.',
        q.now('sum(increase(ringside_upload_blocks_total{%(members)s, outcome="failed"}[1h]))'),
        thresholds=g.steps([[0.5, 'yellow']])
      ),
      g.stat(
        'Blocks that arrived, 1d',
        'Blocks of the data directories whose samples have come to be in the bucket within a day.',
        q.now('sum(increase(ringside_upload_blocks_total{%(members)s, outcome=~"uploaded|merged|covered"}[1d]))')
      ),
      g.stat(
        'Samples flushed, 1d',
        'Samples of heads that were cut into blocks within a day because Prometheus had gone for good.',
        q.now('sum(increase(ringside_flush_samples_total{%(members)s}[1d]))')
      ),
    ],

    local blocks = [
      g.graph(
        'Lag',
        'Age of the oldest block that is complete and neither in the bucket nor refused. With out_of_order_time_window set, blocks wait for about as long.',
        [q.target('ringside_upload_lag_seconds{%(members)s}', q.ofMember)],
        unit='s'
      ) + g.limit(c.uploadLagSeconds) + q.status,
      g.graph(
        'Blocks at hand',
        'Blocks in the data directories, and staged ones, by where they stand.',
        [q.target('sum by (state) (ringside_upload_blocks{%(members)s})', '{{state}}')]
      ) + g.stacked,
      g.graph(
        'Blocks done',
        'What became of the blocks of the data directories: uploaded as they were, merged into one that was, covered by what the bucket had, refused, or failed, which is tried again.',
        [q.target('sum by (outcome) (increase(ringside_upload_blocks_total{%(members)s}[$__rate_interval]))', '{{outcome}}')]
      ) + g.stacked,
    ],

    local bucket = [
      g.graph(
        'Bytes',
        'Bytes of index and chunks that reached the bucket.',
        [q.target('rate(ringside_upload_bytes_total{%(members)s}[$__rate_interval])', q.ofMember)],
        unit='Bps'
      ) + q.status,
      g.graph(
        'Duration of an upload',
        'Of blocks that arrived within the last hour.',
        [
          q.target('histogram_quantile(%s, sum by (le) (rate(ringside_upload_duration_seconds_bucket{%%(members)s}[1h])))' % p[0], p[1])
          for p in [['0.5', 'median'], ['0.99', 'p99']]
        ],
        unit='s'
      ),
      g.graph(
        'Bucket reachable',
        'Whether the bucket served the last request that tells.',
        [q.target('ringside_upload_bucket_reachable{%(members)s}', q.ofMember)],
        unit='bool_yes_no'
      ) + q.status,
    ],

    local flush = [
      g.graph(
        'Samples flushed',
        'Samples of heads that were cut into blocks. Only a sidecar that outlives its Prometheus is scraped after that.',
        [q.target('increase(ringside_flush_samples_total{%(members)s}[$__rate_interval])', q.ofMember)]
      ) + q.status,
      g.graph(
        'Time spent flushing',
        'Time that it took to cut heads into blocks.',
        [q.target('increase(ringside_flush_duration_seconds_sum{%(members)s}[$__rate_interval])', q.ofMember)],
        unit='s'
      ) + q.status,
      g.graph(
        'Failed flushes',
        'Times that a head could not be cut into blocks.',
        [q.target('increase(ringside_flush_failures_total{%(members)s}[$__rate_interval])', q.ofMember)]
      ) + q.status,
    ],

    'ringside-uploader.json': g.dashboard(
      c,
      'uploader',
      'Ringside / Uploader',
      'TSDB blocks on their way to object storage.',
      q.variables,
      verdict +
      [g.row('Blocks')] + blocks +
      [g.row('Bucket')] + bucket +
      [g.row('Heads')] + flush
    ),
  },
}
