{{/* Names and labels. Every helper takes a dict with `root`, and `service` where it is of one. */}}

{{- define "kv-erp.name" -}}
{{- printf "%s-%s" .root.Release.Name .service | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* What a pod is selected by: part is server, worker, migration, postgres or redis. */}}
{{- define "kv-erp.selector" -}}
app.kubernetes.io/part-of: kv-erp
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .service }}
app.kubernetes.io/name: {{ . }}
{{- end }}
{{- with .part }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- with .worker }}
kv-erp/worker: {{ . }}
{{- end }}
{{- end }}

{{- define "kv-erp.labels" -}}
{{ include "kv-erp.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "kv-erp.image" -}}
{{- $tag := .root.Values.image.tag | default .root.Chart.AppVersion -}}
{{- with .root.Values.image.registry }}{{ . }}/{{ end }}kv-erp-{{ .service }}:{{ $tag }}
{{- end }}

{{- define "kv-erp.host" -}}
{{ include "kv-erp.name" . }}.{{ .root.Release.Namespace }}.svc.{{ .root.Values.clusterDomain }}
{{- end }}

{{/* The servers that have this part of values: the default with what the service says otherwise. */}}
{{- define "kv-erp.server" -}}
{{- $own := (index .root.Values.services .service).server | default dict -}}
{{- mergeOverwrite (deepCopy .root.Values.server) (deepCopy $own) | toYaml -}}
{{- end }}

{{/* The enabled workers of a service by name, each whole. */}}
{{- define "kv-erp.workers" -}}
{{- $service := index .root.Values.services .service -}}
{{- $own := $service.workers | default dict -}}
{{- $found := dict -}}
{{- if $service.follows -}}
{{- range $name, $worker := .root.Values.workers -}}
{{- $whole := mergeOverwrite (deepCopy $.root.Values.worker) (deepCopy $worker) (deepCopy (index $own $name | default dict)) -}}
{{- if $whole.enabled }}{{ $_ := set $found $name $whole }}{{ end -}}
{{- end -}}
{{- end -}}
{{- toYaml $found -}}
{{- end }}

{{- define "kv-erp.postgres.host" -}}
{{- if eq .root.Values.postgresql.mode "cluster" -}}
{{ .root.Release.Name }}-postgres-rw
{{- else -}}
{{ required "postgresql.external.host says where PostgreSQL is" .root.Values.postgresql.external.host }}
{{- end -}}
{{- end }}

{{- define "kv-erp.postgres.caSecret" -}}
{{- if eq .root.Values.postgresql.mode "cluster" -}}
{{ .root.Release.Name }}-postgres-ca
{{- else -}}
{{ .root.Values.postgresql.external.caSecret }}
{{- end -}}
{{- end }}

{{- define "kv-erp.redis.url" -}}
{{- if eq .root.Values.redis.mode "sentinel" -}}
{{- $servers := list -}}
{{- range $number := until 3 -}}
{{- $servers = append $servers (printf "%s-redis-%d.%s-redis:26379" $.root.Release.Name $number $.root.Release.Name) -}}
{{- end -}}
redis+sentinel://{{ join "," $servers }}/kv-erp/0
{{- else -}}
{{ required "redis.external.url says where Redis is" .root.Values.redis.external.url }}
{{- end -}}
{{- end }}
