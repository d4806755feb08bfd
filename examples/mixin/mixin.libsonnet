(import 'config.libsonnet') +
(import 'alerts/cluster.libsonnet') +
(import 'alerts/configuration.libsonnet') +
(import 'alerts/gossip.libsonnet') +
(import 'alerts/relay.libsonnet') +
(import 'alerts/uploads.libsonnet') +
(import 'rules/rules.libsonnet') +
(import 'dashboards/fleet.libsonnet') +
(import 'dashboards/relay.libsonnet') +
(import 'dashboards/uploader.libsonnet')
