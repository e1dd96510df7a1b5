# Completion of vmmigrate(8) for bash; as /usr/share/bash-completion/completions/vmmigrate
_vmmigrate() {
    local -a reply
    mapfile -t reply < <("$1" __complete bash -- "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null </dev/null)
    COMPREPLY=()
    if [[ ${reply[0]-} == files ]]; then
        compopt -o default
        return
    fi
    COMPREPLY=("${reply[@]:1}")
}
complete -F _vmmigrate vmmigrate
