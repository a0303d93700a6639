# Completion of pgctl for fish: pgctl completion fish | source
function __pgctl_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    if string match -q -- '-*' $current
        $words $current --generate-bash-completion 2>/dev/null
    else
        $words --generate-bash-completion 2>/dev/null
    end
end
complete -c pgctl -f -a '(__pgctl_complete)'
complete -c pgctl -s f -l file -r -F
