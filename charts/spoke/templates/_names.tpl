{{- define "felloe-spoke.name" -}}
{{- printf "%s-spoke" (.Release.Name | trimSuffix "-spoke") | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "felloe-spoke.selector" -}}
app.kubernetes.io/name: felloe-spoke
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "felloe-spoke.labels" -}}
{{ include "felloe-spoke.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: felloe
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}
