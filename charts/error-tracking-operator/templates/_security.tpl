{{/* The "restricted" Pod Security Standard, for the pod. Takes the numeric user id. */}}
{{- define "error-tracking.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* The same, for a container. */}}
{{- define "error-tracking.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
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
