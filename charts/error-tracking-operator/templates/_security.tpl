{{/* As podSecurityContext, under the number of the Postgres image. */}}
{{- define "error-tracking.postgresqlSecurityContext" -}}
{{- $context := omit .Values.podSecurityContext "runAsUser" "runAsGroup" "fsGroup" -}}
{{- if not (kindIs "invalid" .Values.postgresql.runAsUser) -}}
{{- $user := int64 .Values.postgresql.runAsUser -}}
{{- $context = merge (dict "runAsUser" $user "runAsGroup" $user "fsGroup" $user) $context -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{/* The user of the ingest pods, as the operator is told: that of the chart's own pods, or none. */}}
{{- define "error-tracking.ingestUser" -}}
{{- $user := .Values.podSecurityContext.runAsUser -}}
{{- if kindIs "invalid" $user }}none{{ else }}{{ int64 $user }}{{ end -}}
{{- end -}}

{{/* Where the pod may run. Takes the values of a component. */}}
{{- define "error-tracking.scheduling" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A constraint without a labelSelector is about the pods of the component. Takes (dict "root" . "component" "…"). */}}
{{- define "error-tracking.topologySpread" -}}
{{- $own := dict "matchLabels" (include "error-tracking.selectorLabels" . | fromYaml) -}}
{{- with (index .root.Values .component).topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{- hasKey . "labelSelector" | ternary . (set (deepCopy .) "labelSelector" $own) | toYaml | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}
