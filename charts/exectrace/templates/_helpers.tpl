{{- define "exectrace.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "exectrace.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: webhook
{{- end -}}

{{- define "exectrace.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "exectrace.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "exectrace.image" -}}
{{- .Values.image.repository -}}
{{- with .Values.image.tag }}:{{ . }}{{ end -}}
{{- with .Values.image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* The Secret with the certificate. */}}
{{- define "exectrace.secret" -}}
{{- default (printf "%s-tls" (include "exectrace.fullname" .)) .Values.tls.secretName -}}
{{- end -}}

{{/* What the schema cannot check. */}}
{{- define "exectrace.check" -}}
{{- if and (eq .Values.sidecar.mode "native-sidecar") (semverCompare "<1.29.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "this cluster is Kubernetes %s, and native sidecars need 1.29: set sidecar.mode to container (a workspace may then start before it is watched)" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- if and .Values.webhook.podDisruptionBudget.enabled (ge (int .Values.webhook.podDisruptionBudget.maxUnavailable) (int .Values.webhook.replicas)) (gt (int .Values.webhook.replicas) 1) -}}
{{- fail "webhook.podDisruptionBudget.maxUnavailable must be less than webhook.replicas: a drain could stop all replicas" -}}
{{- end -}}
{{- end -}}
