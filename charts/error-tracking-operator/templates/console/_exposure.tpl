{{/* What the chart refuses about the ways to the console from outside of the cluster. */}}
{{- define "error-tracking.checkConsoleIngress" -}}
{{- with .Values.console.ingress -}}
{{- $_ := required "console.ingress.host is not set: the console answers only to names that it knows." .host -}}
{{- if not (or .tls.secretName .tls.terminatedElsewhere) -}}
{{- fail "console.ingress.tls.secretName is not set: the console's cookie is for HTTPS only. Name the Secret with the certificate, or set console.ingress.tls.terminatedElsewhere where TLS ends before the Ingress." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "error-tracking.checkConsoleGateway" -}}
{{- if not (.Capabilities.APIVersions.Has "gateway.networking.k8s.io/v1") -}}
{{- fail "console.gateway: this cluster does not know gateway.networking.k8s.io/v1. Install the Gateway API first, leave console.gateway.enabled off, or give helm template --api-versions gateway.networking.k8s.io/v1." -}}
{{- end -}}
{{- with .Values.console.gateway -}}
{{- if not .parentRefs -}}
{{- fail "console.gateway.parentRefs is empty: name the Gateway that the HTTPRoute attaches to." -}}
{{- end -}}
{{- if not .hostnames -}}
{{- fail "console.gateway.hostnames is empty: the console answers only to names that it knows." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The host names that the console answers to beside those of loopback, as a JSON list. */}}
{{- define "error-tracking.consoleHosts" -}}
{{- $hosts := list -}}
{{- with .Values.console -}}
{{- if .ingress.enabled }}{{ $hosts = append $hosts .ingress.host }}{{ end -}}
{{- if .gateway.enabled }}{{ $hosts = concat $hosts (.gateway.hostnames | default list) }}{{ end -}}
{{- $hosts = concat $hosts (.hosts | default list) -}}
{{- end -}}
{{- $hosts | compact | uniq | toJson -}}
{{- end -}}
