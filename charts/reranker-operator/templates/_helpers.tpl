{{- define "reranker-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* The name of the objects, among them a Service, whose name has the narrowest rules. */}}
{{- define "reranker-operator.fullname" -}}
{{- $name := .Values.fullnameOverride }}
{{- if not $name }}
{{- $name = ternary .Release.Name (printf "%s-%s" .Release.Name (include "reranker-operator.name" .)) (contains (include "reranker-operator.name" .) .Release.Name) }}
{{- end }}
{{- $name = $name | trunc 63 | trimSuffix "-" }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) }}
{{- fail (printf "objects can't be called %q: a Service's name begins with a letter and has letters, digits and dashes alone. Choose another name for the release, or set fullnameOverride" $name) }}
{{- end }}
{{- $name }}
{{- end }}

{{- /* Where a model is looked for by those who don't say where. */}}
{{- define "reranker-operator.modelNamespace" -}}
{{- .Values.watchNamespaces | default (list .Release.Namespace) | first }}
{{- end }}

{{- /* Labels by which a release's operator is known among Prometheus' series: the chart's ServiceMonitor makes the Service's
name the job. */}}
{{- define "reranker-operator.scraped" -}}
namespace={{ .Release.Namespace | quote }}
{{- if .Values.metrics.serviceMonitor.enabled }}, job={{ include "reranker-operator.fullname" . | quote }}{{ end }}
{{- end }}

{{- /* Labels of a release's latency objective. */}}
{{- define "reranker-operator.objective" -}}
namespace={{ .Release.Namespace | quote }}, release={{ .Release.Name | quote }}
{{- end }}

{{- define "reranker-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "reranker-operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "reranker-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "reranker-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* The chart's labels and more: {more, chart}. The chart's own win. */}}
{{- define "reranker-operator.labelsAnd" -}}
{{- toYaml (merge (fromYaml (include "reranker-operator.labels" .chart)) (.more | default dict)) }}
{{- end }}

{{- define "reranker-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "reranker-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* The reference of an image: {image, Chart}. */}}
{{- define "reranker-operator.image" -}}
{{- with .image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* A map as JSON without its nulls, by which a values file takes out what another one said; nothing where it is empty. */}}
{{- define "reranker-operator.said" -}}
{{- $said := dict }}
{{- range $key, $value := . }}
{{- if not (kindIs "invalid" $value) }}{{ $_ := set $said $key $value }}{{ end }}
{{- end }}
{{- with $said }}{{ toJson . }}{{ end }}
{{- end }}

{{- /* The Lease that two operators share, as <namespace>/<name>; nothing for one operator. */}}
{{- define "reranker-operator.lease" -}}
{{- if gt (int .Values.replicas) 1 }}
{{- printf "%s/%s" .Release.Namespace (include "reranker-operator.fullname" .) }}
{{- end }}
{{- end }}

{{- /* What both pods of the chart have: nothing to write to, nobody to become. */}}
{{- define "reranker-operator.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "reranker-operator.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* The pod of `helm test`, as a NetworkPolicy's peer in any namespace. */}}
{{- define "reranker-operator.testPeer" -}}
- namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ .Release.Namespace | quote }}
  podSelector:
    matchLabels:
      app.kubernetes.io/component: test
      app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- /* What the operator may do, in the cluster or in each watched namespace. It reads no Secret and enters no pod. */}}
{{- define "reranker-operator.rules" -}}
- apiGroups: [reranker.dev]
  resources: [rerankermodels]
  verbs: [get, list, watch]
- apiGroups: [reranker.dev]
  resources: [rerankeradapters]
  verbs: [list, watch]
- apiGroups: [reranker.dev]
  resources: [rerankermodels/status, rerankeradapters/status]
  verbs: [patch]
- apiGroups: [reranker.dev]
  resources: [rerankermodels/finalizers]  # asked for by clusters that check who may block an owner's deletion
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]  # delete: of two fleets' Deployments one goes in the end
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, configmaps]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [services]  # those beside a model's own
  verbs: [delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, create, patch, delete]
- apiGroups: [keda.sh]  # where KEDA is installed
  resources: [scaledobjects]
  verbs: [get, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]  # where the Gateway API is installed
  resources: [httproutes]
  verbs: [get, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [pods]  # patch: the serving manifest travels as an annotation
  verbs: [list, watch, patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}
