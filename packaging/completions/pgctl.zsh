#compdef pgctl
# Completion of pgctl for zsh: source <(pgctl completion zsh)
_pgctl() {
    local -a words_found
    local current=${words[CURRENT]}
    if [[ ${words[CURRENT-1]} == -f ]]; then
        _files
        return
    fi
    if [[ $current == -* ]]; then
        words_found=("${(@f)$(${words[1,CURRENT-1]} $current --generate-bash-completion 2>/dev/null)}")
    else
        words_found=("${(@f)$(${words[1,CURRENT-1]} --generate-bash-completion 2>/dev/null)}")
    fi
    compadd -- ${words_found%%:*}
}
compdef _pgctl pgctl
