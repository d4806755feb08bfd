// The files of rendered/: jsonnet --string --create-output-dirs --multi rendered render.jsonnet
local mixin = import 'mixin.libsonnet';

local notice = '# Made from examples/mixin by make mixin. Change it there.\n';
local yaml(value) = notice + std.manifestYamlDoc(value, indent_array_in_object=true, quote_keys=false) + '\n';

{
  'alerts.yml': yaml(mixin.prometheusAlerts),
  'rules.yml': yaml(mixin.prometheusRules),
} + {
  ['dashboards/' + name]: std.manifestJsonEx(mixin.grafanaDashboards[name], '  ') + '\n'
  for name in std.objectFields(mixin.grafanaDashboards)
}
