// Everything that a fleet may want to have otherwise. See README.md.
{
  _config+:: {
    // Matches the scraped metrics of the sidecars. Must not be empty.
    ringsideSelector: 'job="ringside"',

    // The label that tells clusters of sidecars apart. It comes from the scrape
    // configuration; where there is one cluster only, it may be missing.
    clusterLabel: 'cluster',

    // The label that tells members apart.
    memberLabel: 'instance',

    // What becomes of the labels job and endpoint of the sidecars' own metrics when
    // they are scraped. Without honor_labels job is the sidecar's; Prometheus
    // Operator takes endpoint, too: there it is exported_endpoint.
    targetJobLabel: 'exported_job',
    endpointLabel: 'endpoint',

    // Thresholds of alerts, in seconds and in shares of 1.
    feedbackAgeSeconds: 300,  // more than the longest scrape interval
    handoverSeconds: 120,
    loadRatio: 0.85,
    relayLagSeconds: 120,
    relayLossSeconds: 3600,  // Prometheus keeps at least two hours in its log
    relayRequestSeconds: 5,
    uploadLagSeconds: 3600,  // more than out_of_order_time_window and 10 minutes
    uploadBehindSeconds: 6 * 3600,

    // %s is the alert's name in lower case.
    runbookURLPattern: 'https://github.com/ringside-project/ringside/blob/main/examples/mixin/runbook.md#%s',

    // Where a member's status page is, seen from a browser. %s is the value of memberLabel.
    statusPageURL: 'http://%s/',

    dashboardTags: ['ringside'],
    dashboardRefresh: '30s',
    dashboardUIDs: {
      fleet: 'ringside-fleet',
      relay: 'ringside-relay',
      uploader: 'ringside-uploader',
    },
  },
}
