{{/* What the pods of all components have in common: {root, component, values}, and `checksums` of what they are to be made anew for. */}}
{{- define "stocktake.podMetadata" -}}
labels:
  {{- include "stocktake.labels" . | nindent 2 }}
  {{- with .values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.checksums | default dict) (.values.podAnnotations | default dict) (.root.Values.commonAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Another one for other secrets, of 65,536: whoever may see pods and no Secret could find out a weak password by a whole checksum of it, and by this one cannot tell which of many it is. */}}
{{- define "stocktake.secretChecksum" -}}
{{ toJson . | sha256sum | trunc 4 }}
{{- end }}

{{- define "stocktake.podSpec" -}}
serviceAccountName: {{ include "stocktake.serviceAccount" . }}
{{- $security := default (dict) .values.podSecurityContext }}
{{- if .root.Capabilities.APIVersions.Has "security.openshift.io/v1" }}
{{- $security = omit $security "fsGroup" "fsGroupChangePolicy" }}
{{- end }}
securityContext:
  {{- toYaml $security | nindent 2 }}
{{- if .values.hostNetwork }}
hostNetwork: true
{{- end }}
dnsPolicy: {{ .values.dnsPolicy }}
terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- range $key, $value := dict "imagePullSecrets" .root.Values.imagePullSecrets "nodeSelector" .values.nodeSelector "tolerations" .values.tolerations "affinity" .values.affinity "topologySpreadConstraints" .values.topologySpreadConstraints }}
{{- with $value }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* The same, of their container: also {listen, scheme}, with `isClosed` where it answers nobody who has no certificate, or `commands` by which it is probed where it listens nowhere. Probes there are always,
as server-side apply cannot take one away: it leaves an empty one, which the API server refuses. */}}
{{- define "stocktake.container" -}}
# What a configuration is refused for is then in `kubectl describe pod`, too.
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  {{- toYaml .values.securityContext | nindent 2 }}
resources:
  {{- toYaml .values.resources | nindent 2 }}
{{- with .values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $port := include "stocktake.port" .listen }}
{{- if $port }}
{{- $place := printf "port: %s%s" $port (include "stocktake.probedHost" (dict "listen" .listen "hostNetwork" .values.hostNetwork)) }}
livenessProbe:
  {{ if .isClosed }}tcpSocket: { {{ $place }} }{{ else }}httpGet: { path: /livez, scheme: {{ .scheme }}, {{ $place }} }{{ end }}
  {{- with .values.livenessProbe }}{{ toYaml . | nindent 2 }}{{ end }}
readinessProbe:
  {{ if .isClosed }}tcpSocket: { {{ $place }} }{{ else }}httpGet: { path: /readyz, scheme: {{ .scheme }}, {{ $place }} }{{ end }}
  {{- with .values.readinessProbe }}{{ toYaml . | nindent 2 }}{{ end }}
{{- else if .commands }}
livenessProbe:
  exec: { command: {{ toJson .commands.live }} }
  {{- with .values.livenessProbe }}{{ toYaml . | nindent 2 }}{{ end }}
readinessProbe:
  exec: { command: {{ toJson .commands.ready }} }
  {{- with .values.readinessProbe }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}
{{- end }}

{{/* The agent's pod, whichever component it is: {root, component, values, config, volume} where `volume` is where the spool is. */}}
{{- define "stocktake.agentPod" -}}
{{- $port := include "stocktake.port" .config.telemetry.listen }}
{{- include "stocktake.reachable" (dict "key" "config.telemetry.listen" "address" .config.telemetry.listen "component" .component "hostNetwork" .values.hostNetwork) }}
{{- /* None of credentials, which the running agent reads again: with another pod, what waits for good ones in its spool could be gone. */}}
{{- $checksums := dict "checksum/config" (toJson .config | sha256sum) }}
metadata:
  {{- include "stocktake.podMetadata" (merge (dict "checksums" $checksums) .) | nindent 2 }}
spec:
  {{- include "stocktake.podSpec" . | nindent 2 }}
  automountServiceAccountToken: {{ or (ne (include "stocktake.rules" .) "") (not (empty .config.agent.lease)) }}
  containers:
  - name: agent
    image: {{ include "stocktake.image" (dict "root" .root "image" .root.Values.image) }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args: [run, --config, /etc/stocktake/agent.toml, --log-format, {{ .values.logFormat }}{{ range .values.extraArgs }}, {{ quote . }}{{ end }}]
    {{- if $port }}
    ports: [{ name: telemetry, containerPort: {{ $port }}, protocol: TCP }]
    {{- end }}
    {{- /* By its socket: the file of the configuration may be another one by then, and a wrong one. */}}
    {{- $status := list "stocktake-agent" "status" "--socket" (default "/run/stocktake/agent.sock" .config.telemetry.socket) }}
    {{- $commands := dict "live" (append $status "--alive") "ready" $status }}
    {{- /* Who cannot be asked at all can be started, at least. */}}
    {{- if eq (toString .config.telemetry.socket) "off" }}
    {{- $commands = dict "live" (list "stocktake-agent" "--version") "ready" (list "stocktake-agent" "--version") }}
    {{- end }}
    {{- include "stocktake.container" (merge (dict "listen" .config.telemetry.listen "scheme" "HTTP" "commands" $commands) .) | nindent 4 }}
    env:
    - name: POD_NAME
      valueFrom: { fieldRef: { fieldPath: metadata.name } }
    {{- if eq .component "node" }}
    - name: NODE_NAME
      valueFrom: { fieldRef: { fieldPath: spec.nodeName } }
    # The container's own would be the pod's.
    - name: STOCKTAKE_HOSTNAME
      valueFrom: { fieldRef: { fieldPath: spec.nodeName } }
    - name: HOST_IP
      valueFrom: { fieldRef: { fieldPath: status.hostIP } }
    {{- end }}
    {{- with .values.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    volumeMounts:
    - { name: config, mountPath: /etc/stocktake, readOnly: true }
    - { name: spool, mountPath: /var/lib/stocktake }
    - { name: socket, mountPath: /run/stocktake }
    {{- if not .root.Values.injectSecretsViaEnv }}
    - { name: credentials, mountPath: /run/secrets/stocktake, readOnly: true }
    {{- end }}
    {{- if eq .component "node" }}
    - { name: machine-id, mountPath: /etc/machine-id, readOnly: true }
    {{- range $kind, $path := .values.sockets }}
    {{- if $path }}
    - { name: {{ $kind }}, mountPath: /host/{{ $kind }}, readOnly: true }
    {{- end }}
    {{- end }}
    {{- end }}
    {{- with .values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
  - name: config
    configMap: { name: {{ include "stocktake.name" . }} }
  - name: spool
    {{- toYaml .volume | nindent 4 }}
  - name: socket
    emptyDir: { medium: Memory, sizeLimit: 1Mi }
  {{- if not .root.Values.injectSecretsViaEnv }}
  # It need not be there yet: what is not delivered waits.
  - name: credentials
    secret: { secretName: {{ default (include "stocktake.fullname" .root) .root.Values.existingSecret }}, optional: true }
  {{- end }}
  {{- if eq .component "node" }}
  - name: machine-id
    hostPath: { path: /etc/machine-id, type: File }
  {{- range $kind, $path := .values.sockets }}
  {{- if $path }}
  - name: {{ $kind }}
    hostPath: { path: {{ dir $path }}, type: Directory }
  {{- end }}
  {{- end }}
  {{- end }}
  {{- with .values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
