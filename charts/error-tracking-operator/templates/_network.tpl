{{/* Rules shared by the NetworkPolicies. */}}
{{- define "error-tracking.egressDns" -}}
# Names. Not bound to kube-system: node-local caches and some distributions answer from elsewhere.
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end -}}

{{- define "error-tracking.egressApiServer" -}}
# The API server has no pods to select.
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end -}}

{{- define "error-tracking.egressBackends" -}}
# Servers that keep the keys of projects, as sentry.io.
- ports:
    {{- range .Values.networkPolicy.backendPorts }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end -}}

{{- define "error-tracking.egressDatabase" -}}
# Postgres.
- ports:
    {{- range .Values.networkPolicy.databasePorts }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- if and (include "error-tracking.evaluationPostgres" .) (not .Values.guards.allowedDatabaseHosts) }}
  to:
    - podSelector:
        matchLabels: {{- include "error-tracking.selectorLabels" (dict "root" . "component" "postgresql") | nindent 10 }}
  {{- end }}
{{- end -}}
