# shellcheck shell=bash
# What every script here needs: where the tree is, how to speak, how to run a long step. Sourced, never run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export ROOT

say() { printf '%s\n' "$*"; }
head_line() { printf '\n==> %s\n' "$*"; }

# die MESSAGE [HINT]: one line for what is wrong, one for what to do about it.
die() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  [ -z "${2:-}" ] || printf '  %s\n' "$2" >&2
  exit 1
}

need_root() {
  [ "$(id -u)" -eq 0 ] || die "must run as root" "try: sudo $0 $*"
}

have() { command -v "$1" >/dev/null 2>&1; }

# quiet LOG COMMAND...: runs a long step with its output in LOG; on a terminal a running clock shows that it lives. A
# failure shows the end of the log and is returned.
quiet() {
  local log=$1 start=$SECONDS pid status=0
  shift
  mkdir -p "$(dirname "$log")"
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  if [ -t 1 ]; then
    while kill -0 "$pid" 2>/dev/null; do
      printf '\r    %d s ' $((SECONDS - start))
      sleep 0.5
    done
    printf '\r             \r'
  fi
  wait "$pid" || status=$?
  if [ "$status" -ne 0 ]; then
    say "    failed (status $status): $*"
    tail -n 60 "$log" | sed 's/^/    | /'
    say "    whole log: $log"
    return "$status"
  fi
  say "    done in $((SECONDS - start)) s"
}
