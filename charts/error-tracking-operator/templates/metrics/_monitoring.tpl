{{/* Fails with what to do where the kinds of the Prometheus operator are not there. */}}
{{- define "error-tracking.requireMonitoring" -}}
{{- if not (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1") -}}
{{- fail "metrics: this cluster does not know monitoring.coreos.com/v1. Install the Prometheus operator first, leave metrics.podMonitor.enabled and metrics.prometheusRule.enabled off, or give helm template --api-versions monitoring.coreos.com/v1." -}}
{{- end -}}
{{- end -}}
