# bash completion for slicer-run. Installed where bash-completion finds it; else: . <(slicer-run completion bash)

_slicer_run() {
  local line files=''
  COMPREPLY=()
  while IFS= read -r line; do
    if [ "$line" = :files ]; then
      files=yes
    else
      COMPREPLY+=("${line%%$'\t'*}")
    fi
  done < <("${COMP_WORDS[0]}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  [ -z "$files" ] || compopt -o default 2>/dev/null
}
complete -F _slicer_run slicer-run
