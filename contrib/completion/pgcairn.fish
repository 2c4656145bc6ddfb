# Completion of pgcairn for fish. The program itself knows the answers: "pgcairn help --complete".

function __pgcairn_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in ($words[1] help --complete -- $words[2..] "$current" 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path "$current"
        else
            echo $line
        end
    end
end

complete -c pgcairn -f -a '(__pgcairn_complete)'
