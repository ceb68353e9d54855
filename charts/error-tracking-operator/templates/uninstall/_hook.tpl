{{/* Made when `helm uninstall` begins, gone when the Job has succeeded. Takes the weight: what the Job needs comes first. */}}
{{- define "error-tracking.uninstallHook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
