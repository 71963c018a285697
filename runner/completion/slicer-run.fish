# fish completion for slicer-run. Installed where fish finds it; else: slicer-run completion fish | source

function __slicer_run_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in ($words[1] __complete -- $words[2..-1] 2>/dev/null)
        if test "$line" = ':files'
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end

complete -c slicer-run -f -a '(__slicer_run_complete)'
