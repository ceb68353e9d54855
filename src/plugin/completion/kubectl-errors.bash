# Completion of kubectl-errors for bash, 4 or newer: source <(kubectl-errors completion bash)
_kubectl_errors() {
    local candidate _
    COMPREPLY=()
    while IFS=$'\t' read -r candidate _; do
        [[ $candidate == :* ]] || COMPREPLY+=("$candidate")
    done < <(kubectl-errors __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _kubectl_errors kubectl-errors
