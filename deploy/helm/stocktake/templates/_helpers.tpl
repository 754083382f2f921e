{{/* Names leave room for what Kubernetes puts behind them: 63 characters in all. */}}
{{- define "stocktake.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 46 | trimSuffix "-" -}}
{{- end }}

{{/* The three that follow take {root, component}: agent, node or server. */}}
{{- define "stocktake.name" -}}
{{ include "stocktake.fullname" .root }}-{{ .component }}
{{- end }}

{{- define "stocktake.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "stocktake.labels" -}}
{{ include "stocktake.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Of an object: {root, component}, and what is its own of {labels, annotations}. It begins with the labels. */}}
{{- define "stocktake.metadata" -}}
labels:
  {{- include "stocktake.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) (.root.Values.commonAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "stocktake.serviceAccount" -}}
{{- $account := (get .root.Values .component).serviceAccount -}}
{{- default (ternary (include "stocktake.name" .) "default" $account.create) $account.name -}}
{{- end }}

{{/* {root, image}. */}}
{{- define "stocktake.image" -}}
{{ .image.repository }}{{ if .image.digest }}@{{ .image.digest }}{{ else }}:{{ default .root.Chart.AppVersion .image.tag }}{{ end }}
{{- end }}

{{/* The port of an address; empty for `off`. */}}
{{- define "stocktake.port" -}}
{{ regexFind "[0-9]+$" (toString .) }}
{{- end }}

{{/* The server's settings, as JSON: what `values.yaml` says, and what the chart knows better. */}}
{{- define "stocktake.serverConfig" -}}
{{- $values := .Values.server }}
{{- $config := deepCopy (default (dict) $values.config) }}
{{- $server := default (dict) $config.server }}
{{- $_ := set $config "server" $server }}
{{- $_ := set $server "listen" (toString (default "0.0.0.0:8228" $server.listen)) }}
{{- if eq $values.database "sqlite" }}{{ $_ := set $server "database" "/var/lib/stocktake-server/inventory.db" }}{{ end }}
{{- $tls := default (dict) $server.tls }}
{{- if include "stocktake.tlsSecret" . }}
{{- $tls = merge $tls (dict "certificate" "/etc/stocktake-tls/tls.crt" "key" "/etc/stocktake-tls/tls.key") }}
{{- end }}
{{- $_ := unset $server "tls" }}
{{- with $tls }}{{ $_ := set $server "tls" . }}{{ end }}
{{- /* Who has no certificate is served beside `listen`, if one is wanted there. `off` without quotes is false. */}}
{{- $health := get $server "health_listen" }}
{{- if has (toString $health) (list "off" "false") }}
{{- $_ := unset $server "health_listen" }}
{{- else if and (empty $health) $tls.client_ca }}
{{- $port := ternary "8230" "8229" (eq "8229" (include "stocktake.port" $server.listen)) }}
{{- $_ := set $server "health_listen" (regexReplaceAll "[0-9]+$" $server.listen $port) }}
{{- else if empty $health }}
{{- $_ := unset $server "health_listen" }}
{{- end }}
{{- range $key := list "listen" "health_listen" }}
{{- if and (hasKey $server $key) (not (regexMatch ":[0-9]+$" (toString (get $server $key)))) }}
{{- fail (printf "server.config.server.%s: `%v` is no address with a port like 0.0.0.0:8228" $key (get $server $key)) }}
{{- end }}
{{- end }}
{{- toJson $config }}
{{- end }}

{{/* The Secret with the server's certificate; empty if it has none. */}}
{{- define "stocktake.tlsSecret" -}}
{{ .Values.server.tls.existingSecret | default "" }}
{{- end }}

{{/* Where the server is asked for probes and metrics by who has no certificate, if that is not `listen`. */}}
{{- define "stocktake.serverHealth" -}}
{{- get (include "stocktake.serverConfig" . | fromJson).server "health_listen" -}}
{{- end }}

{{/* Refuses an address of which nobody without the pod has anything, probes included: {address, key, component, hostNetwork}. */}}
{{- define "stocktake.reachable" -}}
{{- if and (not .hostNetwork) (regexMatch "^(127\\.|\\[::1\\]|localhost:)" (toString .address)) }}
{{- fail (printf "%s: probes do not reach %s of a pod with a network of its own: say 0.0.0.0 or [::] instead, or set %s.hostNetwork" .key .address .component) }}
{{- end }}
{{- end }}

{{/* Whom probes ask: {listen, hostNetwork}. In the node's network it may be the node's loopback. In one of its own it is always the pod's address, which the kubelet knows, and the Pod Security Standards (1.34) refuse whatever names another. */}}
{{- define "stocktake.probedHost" -}}
{{- $host := regexReplaceAll ":[0-9]+$" (toString .listen) "" | trimPrefix "[" | trimSuffix "]" }}
{{- if and .hostNetwork (not (has $host (list "0.0.0.0" "::"))) }}{{ printf ", host: %s" (quote $host) }}{{ end }}
{{- end }}
