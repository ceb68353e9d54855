#compdef kubectl-errors
# Completion of kubectl-errors for zsh, after compinit: source <(kubectl-errors completion zsh)
_kubectl_errors() {
    local line
    local -a candidates
    for line in "${(@f)$(kubectl-errors __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        # A colon divides a candidate from its description.
        [[ $line == :* ]] || candidates+=("${${line//:/\\:}/$'\t'/:}")
    done
    _describe kubectl-errors candidates
}
if [[ ${funcstack[1]} == _kubectl-errors ]]; then
    _kubectl_errors
else
    compdef _kubectl_errors kubectl-errors
fi
