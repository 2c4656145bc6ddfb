# Completion of pgcairn for bash. The program itself knows the answers: "pgcairn help --complete".

_pgcairn() {
    local current=$2 line
    local -a words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
        fi
        COMPREPLY+=("${line%%$'\t'*}")
    done < <("${COMP_WORDS[0]}" help --complete -- "${words[@]}" 2>/dev/null)
}

complete -F _pgcairn pgcairn
