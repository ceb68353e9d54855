{{/* Name of the release's objects: `errors-operator` and `errors` both give `errors`, so that no object ends in `-operator-operator`. */}}
{{- define "error-tracking.name" -}}
{{- default (trimSuffix "-operator" .Release.Name) .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that select the pods of a component; part of immutable selectors, so never add to them. Takes (dict "root" . "component" "…"). */}}
{{- define "error-tracking.selectorLabels" -}}
app.kubernetes.io/name: error-tracking-{{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end -}}

{{- define "error-tracking.chartLabels" -}}
{{ include "error-tracking.selectorLabels" . }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: error-tracking
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Labels of an object or of the pods of a component. Takes (dict "root" . "component" "…"), and as "more" those that its own value
     adds. What selects must stay what it is, so the chart's own labels are nobody's to set. */}}
{{- define "error-tracking.labels" -}}
{{- $chart := include "error-tracking.chartLabels" . | fromYaml -}}
{{- $added := merge dict (default dict .more) .root.Values.commonLabels -}}
{{- range $key, $_ := $added -}}
{{- if hasKey $chart $key -}}
{{- fail (printf "%s is a label of the chart's own: take it out of commonLabels, podLabels and labels." $key) -}}
{{- end -}}
{{- end -}}
{{- toYaml (merge $chart $added) -}}
{{- end -}}

{{/* Name of the ServiceAccount of a component with one of its own. Takes (dict "root" . "component" "…"). */}}
{{- define "error-tracking.serviceAccountName" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{- if $account.create -}}
{{- default (printf "%s-%s" (include "error-tracking.name" .root) .component) $account.name -}}
{{- else -}}
{{- required (printf "%s.serviceAccount.name is not set: name the ServiceAccount that is there, or leave create on." .component) $account.name -}}
{{- end -}}
{{- end -}}

{{/* Reference of an image: the digest decides, a tag beside it is for people. Takes (dict "at" "image" "image" .Values.image "tag" "the one that is meant by none"). */}}
{{- define "error-tracking.imageReference" -}}
{{- $repository := .image.repository -}}
{{- if regexMatch "[:@]" (splitList "/" $repository | last) -}}
{{- fail (printf "%s.repository is %q: give the tag as %s.tag and a digest as %s.digest, and only the name here." .at $repository .at .at) -}}
{{- end -}}
{{- if .image.digest -}}
{{- with .image.tag }}{{ $repository = printf "%s:%s" $repository . }}{{ end -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (required (printf "%s.tag is not set." .at) (default .tag .image.tag)) -}}
{{- end -}}
{{- end -}}

{{- define "error-tracking.image" -}}
{{- $_ := required "image.repository is not set. Build the image, push it where the cluster can pull it from, and name it: see README, \"Install in your own cluster\"." .Values.image.repository -}}
{{- include "error-tracking.imageReference" (dict "at" "image" "image" .Values.image "tag" .Chart.AppVersion) -}}
{{- end -}}

{{/* "true" when the chart brings its own Postgres, else empty. */}}
{{- define "error-tracking.evaluationPostgres" -}}
{{- if and .Values.postgresql.enabled (not .Values.database.existingSecret) -}}true{{- end -}}
{{- end -}}

{{/* The Secret with the administrative login of the operator. */}}
{{- define "error-tracking.databaseSecret" -}}
{{- if .Values.database.existingSecret -}}
{{- .Values.database.existingSecret -}}
{{- else if .Values.postgresql.enabled -}}
{{- include "error-tracking.name" . }}-postgresql
{{- else -}}
{{- fail "No database: set database.existingSecret to the Secret with the connection to your Postgres, or leave postgresql.enabled on to try things out." -}}
{{- end -}}
{{- end -}}

{{/* What every command of the program that works for the installation is told by its environment: `kubectl exec` needs no arguments then. */}}
{{- define "error-tracking.commandEnvironment" -}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: ERROR_TRACKING_LEASE_NAME
  value: {{ include "error-tracking.name" . }}-operator
- name: ERROR_TRACKING_DATABASE_SECRET
  value: {{ include "error-tracking.databaseSecret" . | quote }}
{{- with .Values.guards.allowedDatabaseHosts }}
- name: ERROR_TRACKING_ALLOWED_DATABASE_HOSTS
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.watchNamespaces }}
- name: ERROR_TRACKING_WATCH_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
- name: RUST_LOG
  value: {{ .Values.operator.logLevel | quote }}
{{- end -}}

{{/* The Secret that the operator publishes with the read-only login of the console. */}}
{{- define "error-tracking.consoleSecret" -}}
{{- include "error-tracking.name" . }}-console-database
{{- end -}}
