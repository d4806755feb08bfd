// What the queries of all dashboards have in common: fill(text) puts config's
// label names and %(members)s, the selector of the chosen members, into a text.
local grafana = import 'grafana.libsonnet';

function(config) {
  local cluster = '%(ringsideSelector)s, %(clusterLabel)s=~"$cluster"' % config,
  local names = config { members: cluster + ', %s=~"$member"' % config.memberLabel },

  fill(text):: text % names,
  target(expr, legend=''):: grafana.target(self.fill(expr), self.fill(legend)),
  now(expr):: grafana.now(self.fill(expr)),
  cell(expr):: grafana.now(self.fill(expr), 'table'),

  // ofMember is the legend of series of one member.
  ofMember:: '{{%s}}' % config.memberLabel,
  status:: grafana.linked('Status page', config.statusPageURL % ('${__field.labels.%s}' % config.memberLabel)),

  variables:: [
    grafana.variable('cluster', 'Cluster', 'ringside_build_info{%s}' % config.ringsideSelector, config.clusterLabel),
    grafana.variable('member', 'Member', 'ringside_build_info{%s}' % cluster, config.memberLabel),
  ],
}
