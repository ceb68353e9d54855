{{/* What the operator may do where projects and keys live. No verb without its reason. */}}
{{- define "error-tracking.operatorRules" -}}
- apiGroups: [errortracking.dev]
  resources: [errortrackingprojects, clientkeys, runnerbindings]
  verbs:
    - get # the status as it is, before it says that an object is paused or cannot be read
    - list # all of them at the start
    - watch # and every change
    - patch # put the finalizer on and take it off; the spec is never written
- apiGroups: [errortracking.dev]
  resources: [errortrackingprojects/status, clientkeys/status, runnerbindings/status]
  verbs:
    - patch # conditions, the project id, the active key, the pods of a runner
- apiGroups: [""]
  resources: [secrets]
  verbs:
    - get # is there one of that name that is not ours?
    - list # our own, by label
    - watch # edited or deleted by hand: put back
    - create # the DSN of a key, the database login of a project
    - patch # server-side apply of the same; take out entries that are not ours
    - delete # the login of a project that goes; the second Secret of a key, when nobody asks for it any more
- apiGroups: [apps]
  resources: [deployments]
  verbs:
    - get # is there one of that name that is not ours?
    - list # our own, by label
    - watch # drift, and how many ingest pods are ready
    - create # the ingest pods of a project
    - patch # server-side apply of the same
    - delete # when the project goes
- apiGroups: [""]
  resources: [services, serviceaccounts] # the address in the DSN; an identity without rights for the ingest pods
  # As for deployments. Garbage collection deletes them; the API server asks for the right when a child of a lost owner is
  # given to the one that was applied anew.
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies] # in: the ingest port; out: DNS and the database
  # As for deployments. Garbage collection deletes them; the API server asks for the right when a child of a lost owner is
  # given to the one that was applied anew.
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets] # one ingest pod at a time when a node is drained
  # As for deployments. Garbage collection deletes them; the API server asks for the right when a child of a lost owner is
  # given to the one that was applied anew.
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers] # the number of ingest pods, where a project asks for autoscaling
  verbs:
    - get # is there one of that name that is not ours?
    - list # our own, by label
    - watch # drift, and whether it can scale
    - create # when a project asks for it
    - patch # server-side apply of the same
    - delete # when a project does not ask for it any more
- apiGroups: [networking.k8s.io]
  resources: [ingresses] # the way in from outside, where a project asks for it
  verbs: [get, list, watch, create, patch, delete] # as for autoscalers
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes] # the same by the Gateway API; not watched, since a cluster may not have it
  verbs:
    - get # is there one of that name, and is it as it should be?
    - create # when a project asks for it
    - patch # server-side apply of the same
    - delete # when a project does not ask for it any more
- apiGroups: [""]
  resources: [pods]
  verbs:
    - list # those of a project that do not come up, by label: its condition quotes why; who holds a key that was rotated
{{- if or .Values.restartWorkloads.enabled .Values.runnerBinding.enabled }}
- apiGroups: [apps]
  resources: [statefulsets, daemonsets] # and deployments, as above
  verbs:
    - get # may it be restarted, and was it? How does it configure its runner?
    - patch # the annotation that restarts its pods, once a rotation
{{- end }}
{{- if .Values.runnerBinding.enabled }}
- apiGroups: [""]
  resources: [configmaps] # and secrets, as above
  verbs:
    - get # the config.toml of a runner
    - patch # its sentry_dsn
- apiGroups: [apps.gitlab.com]
  resources: [runners] # not watched, since a cluster may not have them
  verbs:
    - get # its DSN, and who keeps it
    - patch # spec.sentryDsn
{{- end }}
- apiGroups: [""]
  resources: [namespaces]
  verbs:
    - get # its uid: a schema belongs to a namespace, not to the next one of its name; its labels: may it hold keys of a project elsewhere?
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs:
    - create # tell what happened, on the object it happened to
    - patch # count the same Event up instead of writing it again
{{- end -}}
