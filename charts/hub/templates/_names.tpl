{{- define "felloe-hub.name" -}}
{{- printf "%s-hub" (.Release.Name | trimSuffix "-hub") | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "felloe-hub.selector" -}}
app.kubernetes.io/name: felloe-hub
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "felloe-hub.labels" -}}
{{ include "felloe-hub.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: felloe
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}
