// Who is there, who scrapes what, and do they agree.
local discovery = import '../discovery.libsonnet';
local g = import 'grafana.libsonnet';
local queries = import 'queries.libsonnet';

{
  grafanaDashboards+:: {
    local c = $._config,
    local q = queries(c),

    local verdict = [
      g.stat(
        'Settled',
        'Whether every chosen member says that all members agree on one view and have applied it, and nobody is joining or draining.',
        q.now('min(ringside_cluster_settled{%(members)s})')
      ) + g.yes('settled', 'not settled'),
      g.stat(
        'Active members',
        'Members that may own targets, in the eyes of the one that sees the fewest.',
        q.now('min(ringside_cluster_members{%(members)s, state="active"})'),
        thresholds=g.steps([[1, 'green']], 'red')
      ),
      g.stat(
        'Unowned targets',
        'Discovered targets that no member may scrape, in the eyes of the one that sees the most.',
        q.now('max(ringside_unowned_targets{%(members)s})'),
        thresholds=g.steps([[1, 'red']])
      ),
      g.stat(
        'Hand-overs pending',
        'Targets that members got but have not been seen to scrape yet, and those that they scrape until their new owners do.',
        q.now('sum(ringside_targets{%(members)s, phase=~"adopting|releasing", %(targetJobLabel)s=~"$job"})'),
        thresholds=g.steps([[1, 'yellow']])
      ),
      g.stat(
        'Load',
        'Series of the active members over the sum of their capacities; 0 when none gives capacity_series.',
        q.now('max(ringside_cluster_load_ratio{%(members)s})'),
        unit='percentunit',
        thresholds=g.steps([[c.loadRatio, 'yellow'], [1, 'red']])
      ),
      g.stat(
        'Dead members',
        'Members that went without a good-bye within the last 5 minutes and have not come back.',
        q.now('max(ringside_cluster_members{%(members)s, state="dead"})'),
        thresholds=g.steps([[1, 'red']])
      ),
    ],

    local members = [
      g.table(
        'Members',
        'What each member says of itself. The name leads to its status page.',
        c.memberLabel,
        [
          q.cell('min by (%(memberLabel)s) (ringside_prometheus_ready{%(members)s})'),
          q.cell('min by (%(memberLabel)s) (ringside_cluster_settled{%(members)s})'),
          q.cell('min by (%(memberLabel)s) (ringside_config_last_reload_successful{%(members)s})'),
          q.cell('min by (%(memberLabel)s) (ringside_prometheus_config_loaded{%(members)s})'),
          q.cell('sum by (%(memberLabel)s) (ringside_targets{%(members)s, phase!="unowned"})'),
          q.cell('sum by (%(memberLabel)s) (ringside_load_series{%(members)s})'),
          q.cell('sum by (%(memberLabel)s) (ringside_capacity_series{%(members)s})'),
          q.cell('1000 * max by (%(memberLabel)s) (ringside_config_last_reload_success_timestamp_seconds{%(members)s})'),
        ],
        [
          ['Prometheus ready', 'bool_yes_no'],
          ['Settled', 'bool_yes_no'],
          ['Configuration good', 'bool_yes_no'],
          ['Configuration loaded', 'bool_yes_no'],
          ['Targets', 'short'],
          ['Series', 'short'],
          ['Capacity', 'short'],
          ['Configuration of', 'dateTimeFromNow'],
        ]
      ) + g.clicked(c.memberLabel, 'Status page', c.statusPageURL % '${__value.raw}'),
      g.graph(
        'Active members as each one sees them',
        'Curves that lie apart are members that do not see one another: a partition, wrong keys, or a crash that not all have noticed yet.',
        [q.target('sum by (%(memberLabel)s) (ringside_cluster_members{%(members)s, state="active"})', q.ofMember)]
      ) + q.status,
      g.graph(
        'Members by state',
        'The most that any member sees in each state. Those that left or died are counted for 5 minutes.',
        [q.target('max by (state) (ringside_cluster_members{%(members)s})', '{{state}}')]
      ),
      g.graph(
        'Versions',
        'Members by the version of Ringside that they run.',
        [q.target('count by (version) (ringside_build_info{%(members)s})', '{{version}}')]
      ) + g.stacked,
    ],

    local targets = [
      g.graph(
        'Targets of each member',
        'Targets in the files of the members. During a hand-over a target is in two.',
        [q.target('sum by (%(memberLabel)s) (ringside_targets{%(members)s, phase!="unowned", %(targetJobLabel)s=~"$job"})', q.ofMember)]
      ) + q.status,
      g.graph(
        'Targets by job',
        'Targets in the files of all members: with replicas: 2 each counts twice.',
        [q.target('sum by (%(targetJobLabel)s) (ringside_targets{%(members)s, phase!="unowned", %(targetJobLabel)s=~"$job"})', '{{%(targetJobLabel)s}}')]
      ) + g.stacked,
      g.graph(
        'Targets on their way',
        'Adopting: in a file but not yet seen to be scraped. Releasing: scraped until the new owners do. Unowned: not scraped, in the eyes of the member that sees the most.',
        [
          q.target('sum by (phase) (ringside_targets{%(members)s, phase=~"adopting|releasing", %(targetJobLabel)s=~"$job"})', '{{phase}}'),
          q.target('sum(max by (%(targetJobLabel)s) (ringside_targets{%(members)s, phase="unowned", %(targetJobLabel)s=~"$job"}))', 'unowned'),
        ]
      ),
      g.graph(
        'Targets moved',
        'Targets that members got from others, by what caused it.',
        [q.target('sum by (reason) (increase(ringside_target_moves_total{%(members)s}[$__rate_interval]))', '{{reason}}')]
      ) + g.stacked,
      g.graph(
        'Hand-over',
        'From the change of view that took a target away until its new owner was seen to scrape it. Empty while nothing is handed over.',
        [
          q.target('histogram_quantile(%s, sum by (le) (rate(ringside_handover_duration_seconds_bucket{%%(members)s}[$__rate_interval])))' % p[0], p[1])
          for p in [['0.5', 'median'], ['0.99', 'p99']]
        ],
        unit='s'
      ) + g.limit(c.handoverSeconds),
      g.graph(
        'Targets refused',
        'Discovered targets that cannot be scraped, as Prometheus sees it: without an address, say.',
        [q.target('max by (%(targetJobLabel)s) (ringside_invalid_targets{%(members)s, %(targetJobLabel)s=~"$job"})', '{{%(targetJobLabel)s}}')]
      ),
    ],

    local load = [
      g.graph(
        'Series of each member',
        'Series that the last scrapes of its targets brought, after metric relabelling.',
        [q.target('sum by (%(memberLabel)s) (ringside_load_series{%(members)s})', q.ofMember)]
      ) + q.status,
      g.graph(
        'Used capacity',
        'Series of a member over its capacity_series. 0 for members that give none.',
        [q.target('ringside_load_series{%(members)s} / (ringside_capacity_series{%(members)s} > 0) or 0 * ringside_load_series{%(members)s}', q.ofMember)],
        unit='percentunit'
      ) + g.limit(1) + q.status,
      g.graph(
        'Fullest member over the mean',
        'How much more series the fullest member scrapes than the mean of all. 1 is ideal.',
        [q.target('max by (%(clusterLabel)s) (ringside_load_series{%(members)s}) / avg by (%(clusterLabel)s) (ringside_load_series{%(members)s})', '{{%(clusterLabel)s}}')]
      ),
    ],

    local feedback = [
      g.graph(
        'Age of the newest feedback',
        'How long ago the newest sample was scraped that Prometheus has told its sidecar of. Up to a scrape interval is normal.',
        [q.target('time() - (ringside_feedback_last_sample_timestamp_seconds{%(members)s} > 0)', q.ofMember)],
        unit='s'
      ) + g.limit(c.feedbackAgeSeconds) + q.status,
      g.graph(
        'Feedback requests',
        'Remote writes in which Prometheus tells its sidecar what it scraped, by outcome.',
        [q.target('sum by (outcome) (rate(ringside_feedback_requests_total{%(members)s}[$__rate_interval]))', '{{outcome}}')],
        unit='reqps'
      ),
      g.graph(
        'Feedback rejected',
        'Of these, the ones that the sidecar turned away, by reason.',
        [q.target('sum by (reason) (rate(ringside_feedback_rejected_requests_total{%(members)s}[$__rate_interval]))', '{{reason}}')],
        unit='reqps'
      ),
      g.graph(
        'Target files written',
        'Target files are written only when their content changes.',
        [q.target('sum by (%(targetJobLabel)s) (increase(ringside_target_file_writes_total{%(members)s, %(targetJobLabel)s=~"$job"}[$__rate_interval]))', '{{%(targetJobLabel)s}}')]
      ),
      g.graph(
        'File errors',
        'Writes of target files or of the generated configuration that went wrong: disk full, directory gone.',
        [q.target('sum by (%(memberLabel)s) (increase(ringside_file_write_errors_total{%(members)s}[$__rate_interval]))', q.ofMember)]
      ) + q.status,
      g.graph(
        'Discovery failures',
        'Failed requests of service discoveries to what they ask. Those that poll are shown by mechanism.',
        [
          q.target('sum(rate(ringside_prometheus_sd_%s_total{%%(members)s}[$__rate_interval]))' % counter, discovery.own[counter])
          for counter in std.objectFields(discovery.own)
        ] + [
          q.target('sum by (mechanism) (rate(ringside_prometheus_sd_%s_total{%%(members)s, mechanism!~"dns|http"}[$__rate_interval]))' % discovery.polled, '{{mechanism}}'),
        ],
        unit='ops'
      ),
    ],

    local gossip = [
      g.graph(
        'Troubles with others',
        'Packets and streams of members with the same name, under a wrong key, of another cluster, and of things that are no members. All should be 0.',
        [
          q.target('sum(increase(ringside_gossip_%s_total{%%(members)s}[$__rate_interval]))' % m[0], m[1])
          for m in [
            ['name_conflicts', 'name conflict'],
            ['wrong_key', 'wrong key'],
            ['foreign_label', 'foreign label'],
            ['garbage', 'garbage'],
          ]
        ]
      ),
      g.graph(
        'Facts',
        'Messages in which members say their facts, by what became of them.',
        [
          q.target('sum by (outcome) (rate(ringside_gossip_facts_sent_total{%(members)s}[$__rate_interval]))', 'sent: {{outcome}}'),
          q.target('sum by (outcome) (rate(ringside_gossip_facts_received_total{%(members)s}[$__rate_interval]))', 'received: {{outcome}}'),
        ],
        unit='mps'
      ),
      g.graph(
        'Joins and look-ups',
        'Attempts to join peers that are not living members, by outcome, and failed look-ups of peers.',
        [
          q.target('sum by (outcome) (increase(ringside_gossip_joins_total{%(members)s}[$__rate_interval]))', 'join: {{outcome}}'),
          q.target('sum(increase(ringside_gossip_dns_failures_total{%(members)s}[$__rate_interval]))', 'failed look-ups'),
        ]
      ),
      g.graph(
        'Last rejoin',
        'How long ago peers were last resolved and those missing were tried: at most the rejoin_interval.',
        [q.target('time() - ringside_gossip_last_rejoin_timestamp_seconds{%(members)s}', q.ofMember)],
        unit='s'
      ) + q.status,
      g.graph(
        'Size of facts',
        'Size of the newest message in which a member says its facts. It grows with the number of jobs.',
        [q.target('ringside_gossip_facts_size_bytes{%(members)s}', q.ofMember)],
        unit='bytes'
      ) + q.status,
      g.graph(
        'Keys',
        'Keys in the key ring. 0: gossip is not encrypted. Members that differ are in the middle of a change of keys.',
        [q.target('ringside_gossip_keys{%(members)s}', q.ofMember)]
      ) + q.status,
    ],

    local process = [
      g.graph('CPU', 'Cores that the sidecars use.', [q.target('rate(process_cpu_seconds_total{%(members)s}[$__rate_interval])', q.ofMember)]) + q.status,
      g.graph('Memory', 'Resident memory of the sidecars.', [q.target('process_resident_memory_bytes{%(members)s}', q.ofMember)], unit='bytes') + q.status,
      g.graph('Goroutines', 'Goroutines of the sidecars. A number that only grows is a leak.', [q.target('go_goroutines{%(members)s}', q.ofMember)]) + q.status,
    ],

    'ringside-fleet.json': g.dashboard(
      c,
      'fleet',
      'Ringside / Fleet',
      'Members, their targets and load, and whether they agree.',
      q.variables + [g.variable('job', 'Job', q.fill('ringside_targets{%(members)s}'), c.targetJobLabel)],
      verdict +
      [g.row('Members')] + members +
      [g.row('Targets')] + targets +
      [g.row('Load')] + load +
      [g.row('Files, feedback and discovery')] + feedback +
      [g.row('Gossip')] + gossip +
      [g.row('Processes')] + process
    ),
  },
}
