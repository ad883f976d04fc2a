{{/* The environment of a process: `service`, and `part`, which is server, worker or migration. */}}

{{- define "kv-erp.environment" -}}
{{- $values := .root.Values -}}
{{- include "kv-erp.environment.database" . }}
{{- if ne .part "migration" }}
{{ include "kv-erp.environment.listening" . }}
{{ include "kv-erp.environment.mesh" . }}
- name: REDIS_URL
  value: {{ include "kv-erp.redis.url" . | quote }}
- name: REDIS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $values.secrets.redis }}, key: redis-password, optional: {{ eq $values.redis.mode "external" }}}}
- name: KV_ERP_DRAIN_WAIT_SECONDS
  value: {{ $values.shutdown.drainWaitSeconds | quote }}
- name: KV_ERP_SHUTDOWN_GRACE_SECONDS
  value: {{ $values.shutdown.graceSeconds | quote }}
{{- if $values.mtls.enabled }}
- {name: KV_ERP_TLS_CERT, value: /etc/kv-erp/tls/tls.crt}
- {name: KV_ERP_TLS_KEY, value: /etc/kv-erp/tls/tls.key}
- {name: KV_ERP_TLS_CA, value: /etc/kv-erp/tls/ca.crt}
{{- end }}
{{- $own := (index $values.services .service).settings | default dict }}
{{- range $name, $value := merge (deepCopy $own) $values.settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- $secret := (index $values.services .service).secretSettings | default dict }}
{{- range $name, $source := merge (deepCopy $secret) $values.secretSettings }}
- name: {{ $name }}
  valueFrom: {secretKeyRef: {name: {{ $source.secret }}, key: {{ $source.key }}}}
{{- end }}
{{- end }}
{{- end }}

{{- define "kv-erp.environment.listening" -}}
- {name: KV_ERP_HEALTH_BIND, value: "0.0.0.0:5002"}
- {name: KV_ERP_METRICS_BIND, value: "0.0.0.0:9464"}
{{- if eq .part "server" }}
- {name: KV_ERP_GRPC_BIND, value: "0.0.0.0:5001"}
{{- if (index .root.Values.services .service).http }}
{{- $server := fromYaml (include "kv-erp.server" .) }}
- {name: KV_ERP_HTTP_BIND, value: "0.0.0.0:8080"}
- name: KV_ERP_GATEWAY_REPLICAS
  value: {{ ternary $server.autoscaling.minReplicas $server.replicas $server.autoscaling.enabled | quote }}
- name: KV_ERP_SESSION_KEY
  valueFrom: {secretKeyRef: {name: {{ .root.Values.secrets.session }}, key: session-key}}
{{- end }}
{{- end }}
{{- end }}

{{- define "kv-erp.environment.mesh" -}}
{{- $root := .root }}
{{- if (index $root.Values.services .service).http }}
- name: KV_ERP_WEBHOOK_KEY
  valueFrom: {secretKeyRef: {name: {{ $root.Values.secrets.webhook }}, key: webhook-key, optional: true}}
{{- end }}
{{- range $name, $_ := $root.Values.services }}
- name: KV_ERP_{{ upper $name }}_TARGET
  value: dns:///{{ include "kv-erp.host" (dict "root" $root "service" $name) }}:5001
{{- end }}
- name: KV_ERP_IDENTITY_KEY
  valueFrom: {secretKeyRef: {name: {{ $root.Values.secrets.identity }}, key: {{ .service }}}}
- name: KV_ERP_IDENTITY_TRUSTED_KEYS
  valueFrom: {secretKeyRef: {name: {{ $root.Values.secrets.identity }}, key: trusted-keys}}
{{- end }}

{{/* A migration knows the owner only, everything else never does. */}}
{{- define "kv-erp.environment.database" -}}
{{- $postgres := .root.Values.postgresql -}}
{{- $prefix := printf "%s%s" .root.Values.secrets.databaseRolePrefix .service -}}
{{- $roles := ternary (dict "OWNER_" "owner") (dict "" "app" "SYSTEM_" "system") (eq .part "migration") -}}
- name: DB_HOST
  value: {{ include "kv-erp.postgres.host" . }}
- name: DB_PORT
  value: {{ ternary 5432 $postgres.external.port (eq $postgres.mode "cluster") | quote }}
- name: DB_DATABASE
  value: {{ .service }}
{{- range $name, $role := $roles }}
- name: DB_{{ $name }}USERNAME
  valueFrom: {secretKeyRef: {name: {{ $prefix }}-{{ $role }}, key: username}}
- name: DB_{{ $name }}PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $prefix }}-{{ $role }}, key: password}}
{{- end }}
{{- if ne .part "migration" }}
{{- $readHosts := $postgres.external.readHosts }}
{{- if eq $postgres.mode "cluster" }}
{{- $readHosts = ternary (list (printf "%s-postgres-ro" .root.Release.Name)) list (gt (int $postgres.cluster.instances) 1) }}
{{- end }}
{{- range $number, $host := $readHosts }}
- name: DB_READ_HOST_{{ add1 $number }}
  value: {{ $host | quote }}
{{- end }}
{{- end }}
- name: PGSSLMODE
  value: {{ ternary "verify-full" $postgres.external.sslMode (eq $postgres.mode "cluster") }}
{{- if include "kv-erp.postgres.caSecret" . }}
- {name: PGSSLROOTCERT, value: /etc/kv-erp/postgres/ca.crt}
{{- end }}
{{- end }}
