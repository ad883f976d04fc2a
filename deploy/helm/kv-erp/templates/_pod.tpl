{{/* What every pod of ours is: unprivileged, unable to write, unknown to the cluster's API. */}}

{{- define "kv-erp.pod" -}}
{{- $labels := include "kv-erp.selector" (pick . "root" "service" "part" "worker") -}}
serviceAccountName: {{ .account }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with .scheduling }}
topologySpreadConstraints:
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- $labels | nindent 8 }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 64Mi}
{{- if include "kv-erp.postgres.caSecret" . }}
  - name: postgres-ca
    secret: {secretName: {{ include "kv-erp.postgres.caSecret" . }}, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}
{{- if and .root.Values.mtls.enabled (ne .part "migration") }}
  - name: tls
    secret: {secretName: {{ include "kv-erp.name" . }}-tls}
{{- end }}
{{- end }}

{{- define "kv-erp.container" -}}
name: {{ .part }}
image: {{ include "kv-erp.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
env:
  {{- include "kv-erp.environment" . | nindent 2 }}
securityContext: {{ include "kv-erp.unprivileged" . | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
{{- if include "kv-erp.postgres.caSecret" . }}
  - {name: postgres-ca, mountPath: /etc/kv-erp/postgres, readOnly: true}
{{- end }}
{{- if and .root.Values.mtls.enabled (ne .part "migration") }}
  - {name: tls, mountPath: /etc/kv-erp/tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "kv-erp.unprivileged" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Kubernetes' own gRPC probes speak no TLS: they ask on a port that serves nothing but health. */}}
{{- define "kv-erp.probes" -}}
startupProbe:
  grpc: {port: 5002, service: liveness}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  grpc: {port: 5002, service: liveness}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  {{- if .http }}
  httpGet: {path: /api/health/ready, port: http}
  {{- else }}
  grpc: {port: 5002, service: readiness}
  {{- end }}
  periodSeconds: 3
  timeoutSeconds: 3
  failureThreshold: 2
{{- end }}

{{- define "kv-erp.grace" -}}
{{ add (ceil .root.Values.shutdown.drainWaitSeconds) (ceil .root.Values.shutdown.graceSeconds) 10 }}
{{- end }}
