# Completion of kubectl-errors for fish: kubectl-errors completion fish | source
function __kubectl_errors
    set -l before (commandline --tokenize --cut-at-cursor --current-process)
    set -l begun (commandline --current-token --cut-at-cursor)
    kubectl-errors __complete $before[2..-1] "$begun" 2>/dev/null | string match --invert ':*'
end
complete --command kubectl-errors --no-files --arguments '(__kubectl_errors)'
