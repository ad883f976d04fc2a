{{/* Ways out, as rules of a NetworkPolicy's egress. */}}

{{- define "kv-erp.to.dns" -}}
- to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
      podSelector: {matchLabels: {k8s-app: kube-dns}}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end }}

{{- define "kv-erp.to.postgres" -}}
{{- $postgres := .root.Values.postgresql -}}
{{- if eq $postgres.mode "cluster" -}}
- to:
    - podSelector: {matchLabels: {cnpg.io/cluster: {{ .root.Release.Name }}-postgres}}
  ports:
    - {protocol: TCP, port: 5432}
{{- else -}}
- ports:
    - {protocol: TCP, port: {{ $postgres.external.port }}}
  {{- include "kv-erp.to.addresses" $postgres.external.cidrs | nindent 2 }}
{{- end -}}
{{- end }}

{{- define "kv-erp.to.redis" -}}
{{- $redis := .root.Values.redis -}}
{{- if eq $redis.mode "sentinel" -}}
- to:
    - podSelector:
        matchLabels: {{ include "kv-erp.selector" (dict "root" .root "service" "redis") | nindent 10 }}
  ports:
    - {protocol: TCP, port: 6379}
    - {protocol: TCP, port: 26379}
{{- else -}}
- ports:
    {{- range $redis.external.ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- include "kv-erp.to.addresses" $redis.external.cidrs | nindent 2 }}
{{- end -}}
{{- end }}

{{- define "kv-erp.to.addresses" -}}
{{- with . -}}
to:
{{- range . }}
  - ipBlock: {cidr: {{ . }}}
{{- end }}
{{- end -}}
{{- end }}

{{- define "kv-erp.to.services" -}}
{{- $root := .root -}}
- to:
    {{- range .services }}
    - podSelector:
        matchLabels: {{ include "kv-erp.selector" (dict "root" $root "service" . "part" "server") | nindent 10 }}
    {{- end }}
  ports:
    - {protocol: TCP, port: 5001}
{{- end }}
