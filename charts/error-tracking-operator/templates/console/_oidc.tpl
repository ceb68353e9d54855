{{/* What the chart refuses about the OpenID provider of the console. */}}
{{- define "error-tracking.checkConsoleOidc" -}}
{{- with .Values.console.oidc -}}
{{- $_ := required "console.oidc.clientID is not set: it is what the provider calls the console." .clientID -}}
{{- $_ := required "console.oidc.existingSecret is not set: name the Secret with client-secret, which the provider has given you." .existingSecret -}}
{{- end -}}
{{- end -}}
