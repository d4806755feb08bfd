// What goes wrong between members, and with whom.
local group = import 'group.libsonnet';

{
  prometheusAlerts+:: {
    groups+: [
      group('ringside-gossip', $._config, [
        {
          alert: 'RingsideGossipNameConflict',
          severity: 'critical',
          // A pod that is replaced at once, under its name, is taken for two for a few seconds.
          expr: 'increase(ringside_gossip_name_conflicts_total{%(ringsideSelector)s}[2m]) > 0',
          'for': '3m',
          summary: 'Two members have one name.',
          description: '{{ $labels.%(memberLabel)s }} hears of two members with one name at different addresses. They take each other for one, so targets are missed and uploads are refused.',
        },
        {
          alert: 'RingsideGossipWrongKey',
          severity: 'warning',
          expr: 'increase(ringside_gossip_wrong_key_total{%(ringsideSelector)s}[5m]) > 0',
          summary: 'Somebody gossips with {{ $labels.%(memberLabel)s }} under a wrong key.',
          description: '{{ $labels.%(memberLabel)s }} gets gossip under a key that is not in its key file, or under none: a member whose keys were not changed with the others, or a stranger.',
        },
        {
          alert: 'RingsideGossipForeignLabel',
          severity: 'warning',
          expr: 'increase(ringside_gossip_foreign_label_total{%(ringsideSelector)s}[5m]) > 0',
          summary: 'Another cluster gossips with {{ $labels.%(memberLabel)s }}.',
          description: '{{ $labels.%(memberLabel)s }} gets gossip of a cluster of another name. It is not let in, but one of them has the wrong peers or the wrong cluster.name.',
        },
        {
          alert: 'RingsideGossipGarbage',
          severity: 'info',
          expr: 'increase(ringside_gossip_garbage_total{%(ringsideSelector)s}[5m]) > 0',
          'for': '15m',
          summary: 'Something else than gossip reaches the gossip port of {{ $labels.%(memberLabel)s }}.',
          description: '{{ $labels.%(memberLabel)s }} keeps getting packets or streams that are not gossip. Only sidecars of this cluster should reach that port.',
        },
        {
          alert: 'RingsideGossipFactsInvalid',
          severity: 'warning',
          expr: 'increase(ringside_gossip_facts_received_total{%(ringsideSelector)s, outcome="invalid"}[5m]) > 0',
          summary: 'Member {{ $labels.%(memberLabel)s }} does not understand another.',
          description: '{{ $labels.%(memberLabel)s }} gets facts of other members that it cannot read: their versions do not go together. Such a member stays joining in its eyes.',
        },
        {
          alert: 'RingsideGossipKeyFileUnusable',
          severity: 'warning',
          expr: 'increase(ringside_gossip_key_reloads_total{%(ringsideSelector)s, outcome="error"}[5m]) > 0',
          summary: 'The gossip key file of {{ $labels.%(memberLabel)s }} is not usable.',
          description: '{{ $labels.%(memberLabel)s }} cannot read its key file. The old keys stay in use; after a restart it would not come up.',
        },
        {
          alert: 'RingsidePeersNotResolved',
          severity: 'warning',
          expr: 'increase(ringside_gossip_dns_failures_total{%(ringsideSelector)s}[5m]) > 0',
          'for': '15m',
          summary: 'Member {{ $labels.%(memberLabel)s }} cannot look its peers up.',
          description: 'For 15 minutes look-ups of cluster.peers have failed at {{ $labels.%(memberLabel)s }}. The last answer is used; a partition may not heal, and a restarted member may stay alone.',
        },
        {
          alert: 'RingsidePeerUnreachable',
          severity: 'warning',
          expr: 'increase(ringside_gossip_joins_total{%(ringsideSelector)s, outcome="error"}[5m]) > 0',
          'for': '15m',
          summary: 'A peer of {{ $labels.%(memberLabel)s }} does not answer.',
          description: 'For 15 minutes {{ $labels.%(memberLabel)s }} has been trying in vain to join an address that cluster.peers names: a member is missing, or cannot be reached.',
        },
        {
          alert: 'RingsideMembershipUnknown',
          severity: 'warning',
          expr: 'ringside_gossip_membership_known{%(ringsideSelector)s} == 0',
          summary: 'Member {{ $labels.%(memberLabel)s }} has found nobody.',
          description: 'Since its start {{ $labels.%(memberLabel)s }} has reached none of its peers. It keeps the targets it had and adopts none.',
        },
      ]),
    ],
  },
}
