// Who is there, do they agree, and is every target scraped.
local group = import 'group.libsonnet';

{
  prometheusAlerts+:: {
    // One that leaves goes on answering while it uploads, and knows nothing new of the others.
    local config = $._config {
      staying: 'unless on (%(clusterLabel)s, %(memberLabel)s) ringside_draining{%(ringsideSelector)s} == 1' % $._config,
    },
    groups+: [
      group('ringside-cluster', config, [
        {
          alert: 'RingsideAbsent',
          severity: 'critical',
          expr: 'absent(up{%(ringsideSelector)s} == 1)',
          summary: 'No sidecar answers.',
          description: 'Not one Ringside sidecar has answered a scrape for 5 minutes: all are gone, or the job that scrapes them is.',
        },
        {
          alert: 'RingsideSidecarDown',
          severity: 'warning',
          expr: 'up{%(ringsideSelector)s} == 0',
          summary: 'Sidecar {{ $labels.%(memberLabel)s }} is down.',
          description: 'The sidecar {{ $labels.%(memberLabel)s }} has not answered a scrape for 5 minutes. Its Prometheus goes on with the targets it had; others have adopted them, too.',
        },
        {
          alert: 'RingsideMemberDead',
          severity: 'warning',
          // Members forget a dead one after 5 minutes.
          expr: 'max by (%(clusterLabel)s) (ringside_cluster_members{%(ringsideSelector)s, state="dead"}) > 0',
          'for': '1m',
          keep_firing_for: '15m',
          summary: 'A member of cluster {{ $labels.%(clusterLabel)s }} died.',
          description: '{{ $value }} members went without a good-bye and have not come back within a minute. Others have adopted their targets; what they had not uploaded is on their volumes.',
        },
        {
          alert: 'RingsideNobodyActive',
          severity: 'critical',
          expr: 'max by (%(clusterLabel)s) (ringside_cluster_members{%(ringsideSelector)s, state="active"}) == 0',
          summary: 'Cluster {{ $labels.%(clusterLabel)s }} has no active member.',
          description: 'For 5 minutes no member has been active: no target is handed to anybody, and those of members that die are not scraped.',
        },
        {
          alert: 'RingsideFrozen',
          severity: 'critical',
          expr: 'ringside_frozen{%(ringsideSelector)s} == 1',
          summary: 'Member {{ $labels.%(memberLabel)s }} is frozen.',
          description: 'For 5 minutes {{ $labels.%(memberLabel)s }} has seen fewer living members than min_members: it keeps its targets and adopts none, so that those of the others may not be scraped.',
        },
        {
          alert: 'RingsideMembersDisagree',
          severity: 'critical',
          expr: |||
            count by (%(clusterLabel)s) (up{%(ringsideSelector)s} == 1 %(staying)s)
              > on (%(clusterLabel)s)
            min by (%(clusterLabel)s) (
              sum by (%(clusterLabel)s, %(memberLabel)s) (ringside_cluster_members{%(ringsideSelector)s, state!~"left|dead"}) %(staying)s
            )
          |||,
          summary: 'Members of cluster {{ $labels.%(clusterLabel)s }} do not see one another.',
          description: '{{ $value }} sidecars answer, but at least one of them sees fewer living members: a partition, a wrong key, or a cluster of another name. Each side scrapes all that it can reach, so targets are scraped more than once.',
        },
        {
          alert: 'RingsideNotSettled',
          severity: 'warning',
          expr: 'min by (%(clusterLabel)s) (ringside_cluster_settled{%(ringsideSelector)s} %(staying)s) == 0',
          'for': '15m',
          summary: 'Cluster {{ $labels.%(clusterLabel)s }} does not settle.',
          description: 'For 15 minutes some member has said that the members do not agree on one view, have not applied it, or that one is joining or draining. Nothing is lost, but targets may be scraped twice.',
        },
        {
          alert: 'RingsideUnownedTargets',
          severity: 'critical',
          expr: 'max by (%(clusterLabel)s, %(targetJobLabel)s) (ringside_targets{%(ringsideSelector)s, phase="unowned"}) > 0',
          'for': '2m',
          summary: 'Targets of job {{ $labels.%(targetJobLabel)s }} are not scraped.',
          description: '{{ $value }} targets of job {{ $labels.%(targetJobLabel)s }} may be scraped by no member: none that is active serves the job, or members are frozen.',
        },
        {
          alert: 'RingsideHandoverStuck',
          severity: 'warning',
          expr: 'sum by (%(clusterLabel)s, %(memberLabel)s) (ringside_targets{%(ringsideSelector)s, phase="releasing"}) > 0',
          'for': '10m',
          summary: 'Member {{ $labels.%(memberLabel)s }} cannot hand targets over.',
          description: '{{ $labels.%(memberLabel)s }} has been waiting for 10 minutes to see {{ $value }} targets scraped by their new owners. Until then both scrape them.',
        },
        {
          alert: 'RingsideHandoverSlow',
          severity: 'warning',
          expr: |||
            histogram_quantile(0.99,
              sum by (%(clusterLabel)s, le) (rate(ringside_handover_duration_seconds_bucket{%(ringsideSelector)s}[15m]))
            ) > %(handoverSeconds)d
          |||,
          summary: 'Hand-overs in cluster {{ $labels.%(clusterLabel)s }} are slow.',
          description: '1%% of the targets handed over in the last 15 minutes were scraped twice for more than {{ $value | humanizeDuration }}.',
        },
        {
          alert: 'RingsideTargetsNotScraped',
          severity: 'critical',
          expr: |||
            sum by (%(clusterLabel)s, %(memberLabel)s) (ringside_targets{%(ringsideSelector)s, phase="adopting"})
              /
            sum by (%(clusterLabel)s, %(memberLabel)s) (ringside_targets{%(ringsideSelector)s, phase!="unowned"})
              > 0.05
          |||,
          'for': '15m',
          summary: 'Prometheus beside {{ $labels.%(memberLabel)s }} does not scrape its targets.',
          description: '{{ $value | humanizePercentage }} of the targets in the files of {{ $labels.%(memberLabel)s }} have not been seen to be scraped since it got them.',
        },
        {
          alert: 'RingsidePrometheusNotReady',
          severity: 'warning',
          expr: 'ringside_prometheus_ready{%(ringsideSelector)s} == 0 %(staying)s',
          summary: 'Prometheus beside {{ $labels.%(memberLabel)s }} is not ready.',
          description: 'The sidecar {{ $labels.%(memberLabel)s }} has had no good answer from its Prometheus for 5 minutes. Others have adopted its targets.',
        },
        {
          alert: 'RingsideFeedbackMissing',
          severity: 'warning',
          expr: |||
            time() - ringside_feedback_last_sample_timestamp_seconds{%(ringsideSelector)s} > %(feedbackAgeSeconds)d
              and on (%(clusterLabel)s, %(memberLabel)s)
            ringside_prometheus_ready{%(ringsideSelector)s} == 1
              and on (%(clusterLabel)s, %(memberLabel)s)
            sum by (%(clusterLabel)s, %(memberLabel)s) (ringside_targets{%(ringsideSelector)s, phase!="unowned"}) > 0
          |||,
          summary: 'Sidecar {{ $labels.%(memberLabel)s }} does not see what its Prometheus scrapes.',
          description: 'Prometheus is ready and has targets, but its feedback brings nothing new to {{ $labels.%(memberLabel)s }}: no hand-over to it can be confirmed, and its load is not known.',
        },
        {
          alert: 'RingsideCapacityShort',
          severity: 'warning',
          expr: 'max by (%(clusterLabel)s) (ringside_cluster_load_ratio{%(ringsideSelector)s}) > %(loadRatio)g',
          'for': '15m',
          summary: 'Cluster {{ $labels.%(clusterLabel)s }} is nearly full.',
          description: 'The members scrape {{ $value | humanizePercentage }} of the series that they are said to hold. When one dies, the others must take its share.',
        },
        {
          alert: 'RingsideMemberOverloaded',
          severity: 'warning',
          expr: 'ringside_load_series{%(ringsideSelector)s} / (ringside_capacity_series{%(ringsideSelector)s} > 0) > 1',
          'for': '15m',
          summary: 'Member {{ $labels.%(memberLabel)s }} scrapes more than its capacity.',
          description: '{{ $labels.%(memberLabel)s }} scrapes {{ $value | humanizePercentage }} of its capacity_series; its Prometheus may run out of memory.',
        },
      ]),
    ],
  },
}
