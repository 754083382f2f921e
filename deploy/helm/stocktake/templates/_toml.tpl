{{/* TOML of a dictionary of tables. `toToml` would write each number as a float. A null takes away what another layer has said. */}}
{{- define "stocktake.toml" -}}
{{- range $table, $settings := . }}
{{- if has $table (list "collectors" "targets") }}
{{- range $name, $settings := $settings }}
{{- if kindIs "map" $settings }}
[{{ $table }}.{{ $name }}]
{{ include "stocktake.tomlSettings" $settings }}
{{- end }}
{{- end }}
{{- else if $settings }}
[{{ $table }}]
{{ include "stocktake.tomlSettings" $settings }}
{{- end }}
{{- end }}
{{- end }}

{{- define "stocktake.tomlSettings" -}}
{{- range $key, $value := . }}
{{- if not (kindIs "invalid" $value) }}
{{- include "stocktake.tomlKey" $key }} = {{ include "stocktake.tomlValue" $value }}
{{ end }}
{{- end }}
{{- end }}

{{- define "stocktake.tomlKey" -}}
{{ if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ toRawJson . }}{{ end }}
{{- end }}

{{/* What JSON says of strings, numbers and truths is TOML, too. */}}
{{- define "stocktake.tomlValue" -}}
{{- if kindIs "map" . }}
{{- $pairs := list }}
{{- range $key, $value := . }}
{{- if not (kindIs "invalid" $value) }}
{{- $pairs = append $pairs (printf "%s = %s" (include "stocktake.tomlKey" $key) (include "stocktake.tomlValue" $value)) }}
{{- end }}
{{- end }}
{{- printf "{ %s }" (join ", " $pairs) }}
{{- else if kindIs "slice" . }}
{{- $items := list }}
{{- range . }}{{ $items = append $items (include "stocktake.tomlValue" .) }}{{ end }}
{{- printf "[%s]" (join ", " $items) }}
{{- else }}
{{- toRawJson . }}
{{- end }}
{{- end }}
