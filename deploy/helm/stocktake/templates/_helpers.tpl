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
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
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

{{/* Where the server is asked for probes and metrics by who has no certificate: beside `listen`, if it wants certificates there. */}}
{{- define "stocktake.serverHealth" -}}
{{- $server := .Values.server.config.server -}}
{{- $beside := ternary (regexReplaceAll "[0-9]+$" $server.listen "8229") "" (not (empty (dig "tls" "client_ca" "" $server))) -}}
{{- default $beside (get $server "health_listen") -}}
{{- end }}

{{/* Who probes a single address: with `hostNetwork` it may be the node's loopback. */}}
{{- define "stocktake.probedHost" -}}
{{- $host := regexReplaceAll ":[0-9]+$" (toString .) "" | trimPrefix "[" | trimSuffix "]" }}
{{- if not (has $host (list "0.0.0.0" "::")) }}{{ printf ", host: %s" (quote $host) }}{{ end }}
{{- end }}
