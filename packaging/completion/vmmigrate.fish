# Completion of vmmigrate(8) for fish; as /usr/share/fish/vendor_completions.d/vmmigrate.fish
function __vmmigrate_complete
    # The word at the cursor comes as it was typed, the others without quotes.
    set -l word (commandline -ct | string unescape)
    or set word (commandline -ct | string trim -l -c \'\")
    set -l words (commandline -opc) "$word"
    set -l reply (command $words[1] __complete fish -- $words[2..-1] 2>/dev/null </dev/null)
    if test "$reply[1]" = files
        __fish_complete_path (commandline -ct)
        return
    end
    printf '%s\n' $reply[2..-1]
end
complete -c vmmigrate -f -a '(__vmmigrate_complete)'
