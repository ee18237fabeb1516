#!/usr/bin/env bash
# Set-up for the Makefile: each step looks first, says what it does only when it does something, and can be repeated.
#   setup.sh packages [EXTRA..]     Debian packages
#   setup.sh venv FOLDER FILE       a private virtual environment holding what FILE (pip requirements) names
#   setup.sh torch-python PYTHON    checks that an interpreter named by the user has torch
#   setup.sh build PRESET [-D..]    configure (when needed) and build a CMake preset
#   setup.sh target PRESET NAME [-D..]    one target of it that the others do not need
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(g++ cmake ninja-build ccache python3 python3-venv pkg-config nlohmann-json3-dev libcli11-dev libyaml-cpp-dev
  libfmt-dev libsqlite3-dev libpcre2-dev libutf8proc-dev libgtest-dev libgmock-dev libgmp-dev libmpfr-dev libflint-dev
  libflint-arb-dev libseccomp-dev libboost1.81-dev)

say() { echo "hone set-up: $*"; }
fail() { say "$*" >&2; exit 1; }

is_installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

# The command prefix that makes us root, if there is one without asking: "" for root, "sudo -n".
root_prefix() {
  if [[ $(id -u) == 0 ]]; then echo env; elif sudo -n true 2>/dev/null; then echo "sudo -n"; else return 1; fi
}

install_packages() {
  if ! command -v dpkg-query >/dev/null; then
    [[ -e build/.no-apt-said ]] || say "no apt here; CMake will name what is missing of: ${packages[*]}"
    mkdir -p build && touch build/.no-apt-said
    return
  fi
  local missing=() package prefix
  for package in "${packages[@]}" "$@"; do is_installed "$package" || missing+=("$package"); done
  [[ ${#missing[@]} == 0 ]] && return
  if ! prefix=$(root_prefix); then
    fail "these Debian packages are missing, and installing them takes root:
  sudo apt-get update && sudo apt-get install --no-install-recommends ${missing[*]}"
  fi
  say "installing Debian packages: ${missing[*]}"
  $prefix apt-get update -q >/dev/null
  $prefix env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
}

# The copy of the requirements inside the environment is the mark that they are installed.
make_venv() {
  local venv=$1 wanted=$2 mark
  mark="$venv/.installed-$(basename "$wanted")"
  if [[ -x $venv/bin/python ]] && cmp -s <(installed_by "$wanted") "$mark"; then return; fi
  if ! "$venv/bin/python" -c '' 2>/dev/null; then
    say "making the virtual environment $venv"
    rm -rf "$venv" && python3 -m venv "$venv"
  fi
  say "installing into $venv: $(grep -v '^[#-]' "$wanted" | tr '\n' ' ')(torch is a large download)"
  "$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check -r "$wanted"
  local alone=${wanted%.txt}-nodeps.txt  # packages whose own requirements contradict the others'
  if [[ -e $alone ]]; then
    "$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --no-deps -r "$alone"
  fi
  installed_by "$wanted" >"$mark"
}

# A requirements file with the files it names or that belong to it, as text.
installed_by() {
  cat "$1" "${1%.txt}-nodeps.txt" 2>/dev/null || true
  local named
  for named in $(sed -n 's/^-[rc] *//p' "$1"); do cat "$(dirname "$1")/$named"; done
}

check_torch_python() {
  "$1" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)' 2>/dev/null ||
    fail "TORCH_PYTHON=$1 has no torch (or is no Python); install torch==2.13.0 there, or leave TORCH_PYTHON out"
}

build_preset() { build_target "$1" all "${@:2}"; }

build_target() {
  local preset=$1 target=$2 tree="build/$1" stamp
  shift 2
  stamp=$(printf '%s\n' "$@"; cat CMakePresets.json)
  if [[ ! -e $tree/build.ninja || $stamp != "$(cat "$tree/.configured" 2>/dev/null)" ]]; then
    say "configuring $tree"
    cmake --preset "$preset" "$@" >"$tree.log" 2>&1 || { cat "$tree.log" >&2; fail "cmake --preset $preset failed (see above)"; }
    echo "$stamp" >"$tree/.configured"
  fi
  [[ $target == all ]] || say "target $target"
  say "building $tree (${MAX_JOBS:=2} jobs)"
  (cd "$tree" && ninja -j "$MAX_JOBS" "$target")
}

mkdir -p build
step=${1:-}
shift || true
case $step in
  packages) install_packages "$@" ;;
  venv) make_venv "$@" ;;
  torch-python) check_torch_python "$@" ;;
  build) build_preset "$@" ;;
  target) build_target "$@" ;;
  *) fail "usage: cmake/setup.sh packages|venv|torch-python|build|target .." ;;
esac
