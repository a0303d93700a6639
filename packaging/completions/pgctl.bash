# Completion of pgctl for bash: source <(pgctl completion bash)
_pgctl() {
    local current="${COMP_WORDS[COMP_CWORD]}" words
    COMPREPLY=()
    [ "${COMP_WORDS[COMP_CWORD-1]}" = -f ] && { COMPREPLY=($(compgen -f -- "$current")); return; }
    case $current in
    -*) words=$("${COMP_WORDS[@]:0:COMP_CWORD}" "$current" --generate-bash-completion 2>/dev/null) ;;
    *) words=$("${COMP_WORDS[@]:0:COMP_CWORD}" --generate-bash-completion 2>/dev/null) ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o bashdefault -o default -F _pgctl pgctl
