// What a sidecar counts of failing service discoveries, in counters named
// ringside_prometheus_sd_…_total.
{
  // Counters of one discovery each, with what it is called. They are there from the
  // start, with 0; Kuma's only in a full build.
  own: {
    kubernetes_failures: 'kubernetes',
    http_failures: 'http',
    dns_lookup_failures: 'dns',
    consul_rpc_failures: 'consul',
    file_read_errors: 'file',
    kuma_fetch_failures: 'kuma',
  },

  // The counter of all that poll, by mechanism and config. EC2, Docker and most others
  // have no other. It is there once one of them is configured.
  polled: 'refresh_failures',
}
