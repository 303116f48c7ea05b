{{- define "evenkeel.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "evenkeel.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "evenkeel.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "evenkeel.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "evenkeel.selector" -}}
app.kubernetes.io/name: {{ include "evenkeel.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "evenkeel.labels" -}}
{{ include "evenkeel.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* Not empty where one of several replicas acts. */ -}}
{{- define "evenkeel.several" -}}
{{- if gt (int .Values.replicas) 1 -}}true{{- end -}}
{{- end -}}

{{- define "evenkeel.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "evenkeel.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "evenkeel.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "evenkeel.apiSecret" -}}
{{- default (printf "%s-api" (include "evenkeel.fullname" .)) .Values.api.existingSecret -}}
{{- end -}}

{{- /* The Secret with the URL of PostgreSQL; empty where state is a SQLite file. */ -}}
{{- define "evenkeel.databaseSecret" -}}
{{- if .Values.database.bundled.enabled -}}
{{ include "evenkeel.fullname" . }}-postgresql
{{- else -}}
{{ .Values.database.existingSecret }}
{{- end -}}
{{- end -}}

{{- define "evenkeel.databaseKey" -}}
{{- if .Values.database.bundled.enabled }}url{{ else }}{{ .Values.database.key }}{{ end -}}
{{- end -}}

{{- /* The Secret with the key that signs the audit log; empty where it is on the volume. */ -}}
{{- define "evenkeel.auditSecret" -}}
{{- if .Values.auditKey.existingSecret -}}
{{ .Values.auditKey.existingSecret }}
{{- else if .Values.database.bundled.enabled -}}
{{ include "evenkeel.fullname" . }}-audit-key
{{- end -}}
{{- end -}}

{{- define "evenkeel.subject" -}}
- kind: ServiceAccount
  name: {{ include "evenkeel.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- /* How many shards: as many as replicas where nothing is said and there are several. */ -}}
{{- define "evenkeel.shards" -}}
{{- if ne (toString .Values.shards) "" -}}
{{ .Values.shards }}
{{- else if gt (int .Values.replicas) 1 -}}
{{ .Values.replicas }}
{{- else -}}
0
{{- end -}}
{{- end -}}

{{- /* The names of the leases. */ -}}
{{- define "evenkeel.leases" -}}
{{- $name := include "evenkeel.fullname" . -}}
{{- $names := list $name -}}
{{- range until (include "evenkeel.shards" . | int) -}}
{{- $names = append $names (printf "%s-shard-%d" $name .) -}}
{{- end -}}
{{ toJson $names }}
{{- end -}}
