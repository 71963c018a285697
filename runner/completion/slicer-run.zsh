#compdef slicer-run
# zsh completion for slicer-run. Installed as _slicer-run in a folder of $fpath; else: . <(slicer-run completion zsh)

_slicer_run() {
  local -a described
  local line files=
  for line in "${(@f)$(_call_program slicer-run ${(q)words[1]} __complete -- "${(@qq)words[2,CURRENT]}")}"; do
    if [[ $line == :files ]]; then
      files=yes
    elif [[ -n $line ]]; then
      described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    fi
  done
  (( ${#described} )) && _describe slicer-run described
  [[ -z $files ]] || _files
}

if [[ $funcstack[1] == _slicer-run ]]; then
  _slicer_run "$@"
else
  compdef _slicer_run slicer-run
fi
