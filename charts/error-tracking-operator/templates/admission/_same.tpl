{{/* CEL: whether a part of `before` and of `after`, which are variables, is the same but for one key. Takes (list "part" "key"). */}}
{{- define "error-tracking.sameBut" -}}
{{- $before := printf "variables.before.%s" (first .) -}}
{{- $after := printf "variables.after.%s" (first .) -}}
[[{{ $before }}, {{ $after }}], [{{ $after }}, {{ $before }}]].all(pair, pair[0].all(key, key == "{{ last . }}" || pair[1][?key] == pair[0][?key]))
{{- end -}}
