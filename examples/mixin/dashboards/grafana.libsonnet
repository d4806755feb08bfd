// The little of Grafana's dashboard JSON (schema 39, Grafana 10.4 and later) that
// the three dashboards need.
local datasource = { type: 'prometheus', uid: '${datasource}' };

// place gives panels their ids and puts them side by side, in lines of 24 units.
local place(panels) =
  local step(acc, panel) =
    local fits = acc.x + panel.gridPos.w <= 24;
    local x = if fits then acc.x else 0;
    local y = if fits then acc.y else acc.y + acc.height;
    local height = if fits then std.max(acc.height, panel.gridPos.h) else panel.gridPos.h;
    {
      panels: acc.panels + [panel { id: std.length(acc.panels) + 1, gridPos+: { x: x, y: y } }],
      x: x + panel.gridPos.w,
      y: y,
      height: height,
    };
  std.foldl(step, panels, { panels: [], x: 0, y: 0, height: 0 }).panels;

local panel(type, size, title, description, targets) = {
  type: type,
  title: title,
  description: description,
  datasource: datasource,
  gridPos: size,
  targets: [targets[i] { refId: std.char(std.codepoint('A') + i) } for i in std.range(0, std.length(targets) - 1)],
  fieldConfig: { defaults: {}, overrides: [] },
  options: {},
};

{
  // target is a query over the time that is shown; its legend is a template.
  target(expr, legend=''):: {
    datasource: datasource,
    expr: expr,
    legendFormat: if legend == '' then '__auto' else legend,
    range: true,
  },

  // now is a query of the last moment that is shown.
  now(expr, format='time_series'):: self.target(expr) + {
    range: false,
    instant: true,
    format: format,
  },

  // steps are thresholds: green, then each [value, colour] and what is above it.
  steps(list, base='green'):: {
    mode: 'absolute',
    steps: [{ color: base, value: null }] + [{ value: s[0], color: s[1] } for s in list],
  },

  row(title):: {
    type: 'row',
    title: title,
    collapsed: false,
    gridPos: { w: 24, h: 1 },
    panels: [],
  },

  // stat is one number of now.
  stat(title, description, target, unit='short', thresholds=self.steps([]))::
    panel('stat', { w: 4, h: 4 }, title, description, [target]) + {
      fieldConfig: { defaults: { unit: unit, thresholds: thresholds, color: { mode: 'thresholds' } }, overrides: [] },
      options: {
        colorMode: 'background',
        graphMode: 'none',
        justifyMode: 'auto',
        textMode: 'value',
        reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
      },
    },

  // yes shows a stat of 1 and 0 as words.
  yes(good, bad):: {
    fieldConfig+: {
      defaults+: {
        mappings: [{ type: 'value', options: { '0': { text: bad, color: 'red', index: 0 }, '1': { text: good, color: 'green', index: 1 } } }],
      },
    },
  },

  // graph is curves over time.
  graph(title, description, targets, unit='short')::
    panel('timeseries', { w: 8, h: 8 }, title, description, targets) + {
      fieldConfig: {
        defaults: {
          unit: unit,
          min: 0,
          color: { mode: 'palette-classic' },
          custom: { drawStyle: 'line', lineWidth: 1, fillOpacity: 10, showPoints: 'never', spanNulls: false, stacking: { mode: 'none', group: 'A' } },
        },
        overrides: [],
      },
      options: {
        legend: { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] },
        tooltip: { mode: 'multi', sort: 'desc' },
      },
    },

  // stacked piles the curves of a graph up; half gives it half of a line.
  stacked:: { fieldConfig+: { defaults+: { custom+: { fillOpacity: 60, lineWidth: 0, stacking: { mode: 'normal', group: 'A' } } } } },
  half:: { gridPos+: { w: 12 } },

  // limit draws a line at a threshold into a graph.
  limit(value):: {
    fieldConfig+: {
      defaults+: {
        custom+: { thresholdsStyle: { mode: 'line' } },
        thresholds: { mode: 'absolute', steps: [{ color: 'transparent', value: null }, { color: 'red', value: value }] },
      },
    },
  },

  // linked lets a click on a curve lead somewhere.
  linked(title, url):: { fieldConfig+: { defaults+: { links: [{ title: title, url: url, targetBlank: true }] } } },

  // table joins queries of now on the label by; columns are [title, unit] of each.
  table(title, description, by, targets, columns)::
    local letter(i) = std.char(std.codepoint('A') + i);
    panel('table', { w: 24, h: 8 }, title, description, targets) + {
      transformations: [
        { id: 'joinByField', options: { byField: by, mode: 'outer' } },
        { id: 'filterFieldsByName', options: { include: { names: [by] + ['Value #' + letter(i) for i in std.range(0, std.length(columns) - 1)] } } },
        { id: 'organize', options: { excludeByName: {}, indexByName: {}, renameByName: { ['Value #' + letter(i)]: columns[i][0] for i in std.range(0, std.length(columns) - 1) } } },
      ],
      fieldConfig: {
        defaults: {},
        overrides: [
          { matcher: { id: 'byName', options: c[0] }, properties: [{ id: 'unit', value: c[1] }] }
          for c in columns
        ],
      },
      options: { showHeader: true, cellHeight: 'sm' },
    },

  // clicked makes the values of a table's column links.
  clicked(column, title, url):: {
    fieldConfig+: {
      overrides+: [{
        matcher: { id: 'byName', options: column },
        properties: [{ id: 'links', value: [{ title: title, url: url, targetBlank: true }] }],
      }],
    },
  },

  // variable lists the values of a label.
  variable(name, label, metric, of):: {
    local query = 'label_values(%s, %s)' % [metric, of],
    name: name,
    label: label,
    type: 'query',
    datasource: datasource,
    definition: query,
    query: { qryType: 1, query: query, refId: 'PrometheusVariableQueryEditor-VariableQuery' },
    refresh: 2,
    sort: 1,
    multi: true,
    includeAll: true,
    allValue: '.*',
    current: { selected: true, text: ['All'], value: ['$__all'] },
    options: [],
    regex: '',
    hide: 0,
  },

  // dashboard is config's dashboard of that name; panels are in their order.
  dashboard(config, name, title, description, variables, panels):: {
    uid: config.dashboardUIDs[name],
    title: title,
    description: description,
    tags: config.dashboardTags,
    schemaVersion: 39,
    version: 1,
    editable: true,
    graphTooltip: 1,
    refresh: config.dashboardRefresh,
    time: { from: 'now-1h', to: 'now' },
    timepicker: {},
    timezone: 'browser',
    annotations: { list: [] },
    links: [
      {
        type: 'dashboards',
        title: 'Ringside',
        tags: config.dashboardTags,
        asDropdown: false,
        includeVars: true,
        keepTime: true,
        targetBlank: false,
        icon: 'external link',
        tooltip: '',
        url: '',
      },
    ],
    templating: {
      list: [
        { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus', refresh: 1, regex: '', hide: 0, multi: false, includeAll: false, options: [], current: {} },
      ] + variables,
    },
    panels: place(panels),
  },
}
