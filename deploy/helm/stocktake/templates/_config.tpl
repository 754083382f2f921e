{{/* The settings of an agent, as JSON: {root, component}. What `values.yaml` says, and what the chart knows better. */}}
{{- define "stocktake.agentConfig" -}}
{{- $root := .root }}
{{- $config := deepCopy (default (dict) $root.Values.config) }}
{{- if eq .component "node" }}
{{- /* A Lease is the Deployment's. */}}
{{- $_ := set $config "agent" (omit (default (dict) $config.agent) "lease") }}
{{- $config = mergeOverwrite (omit $config "collectors") (deepCopy (default (dict) $root.Values.node.config)) }}
{{- end }}
{{- range $table := list "agent" "telemetry" "collectors" "targets" }}
{{- $_ := set $config $table (default (dict) (get $config $table)) }}
{{- end }}
{{- if eq .component "node" }}
{{- range $kind, $path := $root.Values.node.sockets }}
{{- if $path }}
{{- $inside := printf "/host/%s/%s" $kind (base $path) }}
{{- $settings := ternary (dict "host" (printf "unix://%s" $inside)) (dict "address" $inside) (eq $kind "docker") }}
{{- if not (hasKey $config.collectors $kind) }}
{{- $_ := set $config.collectors $kind $settings }}
{{- else if kindIs "map" (get $config.collectors $kind) }}
{{- $_ := set $config.collectors $kind (merge (get $config.collectors $kind) $settings) }}
{{- end }}
{{- end }}
{{- end }}
{{- else }}
{{- include "stocktake.namespaces" (dict "root" $root "collectors" $config.collectors) }}
{{- if gt (int $root.Values.agent.replicas) 1 }}
{{- $lease := $root.Values.agent.lease }}
{{- $ours := dict "name" (include "stocktake.name" .) "duration" $lease.duration "renew" $lease.renew }}
{{- $_ := set $config.agent "lease" (merge $ours (default (dict) $config.agent.lease)) }}
{{- end }}
{{- end }}
{{- /* What YAML takes `off` for. */}}
{{- range $key, $value := $config.telemetry }}
{{- if and (kindIs "bool" $value) (not $value) }}{{ $_ := set $config.telemetry $key "off" }}{{ end }}
{{- end }}
{{- $_ := set $config.agent "spool_dir" "/var/lib/stocktake/spool" }}
{{- if $root.Values.server.enabled }}
{{- $own := dict "url" (include "stocktake.serverUrl" $root) }}
{{- if not (hasKey $config.targets "stocktake") }}
{{- $_ := set $config.targets "stocktake" $own }}
{{- else if and (kindIs "map" $config.targets.stocktake) (eq "stocktake" (default "stocktake" $config.targets.stocktake.type)) }}
{{- $_ := set $config.targets "stocktake" (merge $config.targets.stocktake $own) }}
{{- end }}
{{- end }}
{{- $isTold := false }}
{{- range $config.targets }}{{ $isTold = or $isTold (kindIs "map" .) }}{{ end }}
{{- if not $isTold }}
{{- fail "there is nobody to report to: set `config.targets.stocktake.url`, another of `config.targets` (docs/config.example.toml), or `server.enabled`" }}
{{- end }}
{{- range $name, $collector := $config.collectors }}
{{- range $key := list "token" "kubeconfig_data" }}
{{- if and (kindIs "map" $collector) (hasKey $collector $key) }}
{{- fail (printf "config.collectors.%s.%s would stand in a ConfigMap: mount a Secret (`extraVolumes`) and name its file" $name $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $target := $config.targets }}
{{- if kindIs "map" $target }}
{{- include "stocktake.targetCredentials" (dict "root" $root "name" $name "target" $target) }}
{{- end }}
{{- end }}
{{- toJson $config }}
{{- end }}

{{/* What may be looked at is what is looked at. */}}
{{- define "stocktake.namespaces" -}}
{{- if .root.Values.rbac.namespaces }}
{{- range $name, $settings := .collectors }}
{{- if and (kindIs "map" $settings) (eq "kubernetes" (default $name $settings.type)) }}
{{- $_ := merge $settings (dict "namespaces" $.root.Values.rbac.namespaces) }}
{{- if not (hasKey $settings "cluster_objects") }}{{ $_ := set $settings "cluster_objects" false }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "stocktake.targetCredentials" -}}
{{- $kind := default .name .target.type }}
{{- if eq $kind "stocktake" }}
{{- /* A server asks for a token besides the certificate; who stands before one may be content with that, where no token is given. */}}
{{- $credentials := default (dict) (get (default (dict) .root.Values.credentials) .name) }}
{{- $isOwn := and .root.Values.server.enabled (eq .name "stocktake") }}
{{- if or (not .target.cert_file) (get $credentials "token") .root.Values.existingSecret .root.Values.injectSecretsViaEnv $isOwn (hasKey .target "token_file") (hasKey .target "token_env") }}
{{- include "stocktake.credential" (dict "root" .root "settings" .target "key" "token" "name" (printf "%s-token" .name)) }}
{{- end }}
{{- else if eq $kind "anchore" }}
{{- include "stocktake.credential" (dict "root" .root "settings" .target "key" "password" "name" (printf "%s-password" .name)) }}
{{- range $account, $route := .target.account_routes }}
{{- if hasKey $route "user" }}
{{- include "stocktake.credential" (dict "root" $.root "settings" $route "key" "password" "name" (include "stocktake.accountKey" (dict "target" $.name "account" $account))) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "stocktake.accountKey" -}}
{{ printf "%s-account-%s" .target (regexReplaceAll "[^A-Za-z0-9._-]" .account "_") }}
{{- end }}

{{/* Says in the settings where the secret of a name is: {root, settings, key, name}. */}}
{{- define "stocktake.credential" -}}
{{- $file := printf "%s_file" .key }}
{{- $variable := printf "%s_env" .key }}
{{- if hasKey .settings .key }}
{{- fail (printf "`%s` of a target would stand in a ConfigMap: put it into `credentials`, or into a Secret of yours (`existingSecret`) with the key `%s`" .key .name) }}
{{- end }}
{{- if or (hasKey .settings $file) (hasKey .settings $variable) }}
{{- /* A null says that there is none. */}}
{{- range $named := list $file $variable }}
{{- if empty (get $.settings $named) }}{{ $_ := unset $.settings $named }}{{ end }}
{{- end }}
{{- else }}
{{- if .root.Values.injectSecretsViaEnv }}
{{- $_ := set .settings $variable (regexReplaceAll "[^A-Z0-9]" (upper .name) "_") }}
{{- else }}
{{- $_ := set .settings $file (printf "/run/secrets/stocktake/%s" .name) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The keys of the Secret that agents' settings lead to, as a JSON list. */}}
{{- define "stocktake.secretKeys" -}}
{{- $keys := list }}
{{- range $component := list "agent" "node" }}
{{- if (get $.Values $component).enabled }}
{{- $config := include "stocktake.agentConfig" (dict "root" $ "component" $component) }}
{{- range regexFindAll "/run/secrets/stocktake/[A-Za-z0-9._-]+" $config -1 }}{{ $keys = append $keys (base .) }}{{ end }}
{{- end }}
{{- end }}
{{- $keys | uniq | sortAlpha | toJson }}
{{- end }}

{{/* Where the server of this release is. */}}
{{- define "stocktake.serverUrl" -}}
{{ ternary "https" "http" (ne (include "stocktake.tlsSecret" .) "") }}://{{ include "stocktake.name" (dict "root" . "component" "server") }}.{{ .Release.Namespace }}.svc:{{ .Values.server.service.port }}
{{- end }}
