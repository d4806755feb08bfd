// group makes a group of alerts. Each has alert, severity, expr, summary and
// description, whose %(names)s are those of config; `for` is 5m unless it is given.
function(name, config, alerts) {
  name: name,
  rules: [
    {
      alert: a.alert,
      expr: std.rstripChars(a.expr % config, '\n'),
      'for': std.get(a, 'for', '5m'),
      [if std.objectHas(a, 'keep_firing_for') then 'keep_firing_for']: a.keep_firing_for,
      labels: { severity: a.severity },
      annotations: {
        summary: a.summary % config,
        description: a.description % config,
        runbook_url: config.runbookURLPattern % std.asciiLower(a.alert),
      },
    }
    for a in alerts
  ],
}
