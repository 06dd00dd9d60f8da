#!/usr/bin/env bash
# Makes venv/ beside this file, installs what the hardware needs and starts app.py. A second start installs nothing.
#   --test [-- PYTEST ARGUMENTS]   set up, then run the checks and the tests
#   --exit                         end after the installation
#   --skip-install                 install nothing
#   --reinstall-torch              install torch afresh
#   --xformers                     install xformers too, and use it where it fits
#   --reinstall-xformers           install xformers afresh
# Every other option goes to app.py. Environment: PYTHON, TORCH_COMMAND, TORCH_INDEX_URL, INDEX_URL, REQS_FILE,
# XFORMERS_PACKAGE, COMMANDLINE_ARGS.
set -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
requirements=${REQS_FILE:-requirements.txt}
xformers=${XFORMERS_PACKAGE:-xformers==0.0.35}
venv_python=venv/bin/python

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# Sets `words` from $1, respecting quotes but expanding nothing.
split() {
    words=()
    [ -n "${1//[[:space:]]/}" ] || return 0
    local lines word
    lines=$(printf '%s' "$1" | xargs -n1 printf '%s\n') || fail "A quotation mark is not closed in: $1"
    while IFS= read -r word; do words+=("$word"); done <<<"$lines"
}

supported() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' >/dev/null 2>&1; }

# Sets `python` to one that can run Atelier.
find_python() {
    if [ -n "$PYTHON" ]; then
        python=$PYTHON
        supported "$python" || fail "PYTHON=$PYTHON is not a working Python 3.10, 3.11, 3.12 or 3.13: set PYTHON to one that is."
        return
    fi
    for python in python3 python3.13 python3.12 python3.11 python3.10; do
        supported "$python" && return
    done
    fail "Python 3.10, 3.11, 3.12 or 3.13 was not found: install one (on Debian: apt install python3 python3-venv) or set PYTHON to its path."
}

version() { "$1" -c 'import sys; print(*sys.version_info[:2], sep=".")' 2>/dev/null; }

# A venv that lacks pip was left half made; one of another version than PYTHON is not the one wanted.
ensure_venv() {
    if "$venv_python" -c 'import pip' >/dev/null 2>&1 && supported "$venv_python"; then
        [ -n "$PYTHON" ] || return 0
        find_python
        [ "$(version "$python")" != "$(version "$venv_python")" ] || return 0
    fi
    find_python
    rm -rf venv
    echo "Making venv with $("$python" -V)"
    if command -v uv >/dev/null; then
        uv venv --quiet --seed --python "$python" venv || fail "uv could not make venv: see the lines above; check the network connection and start again."
    else
        "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "This Python cannot make a venv: install its package (on Debian: apt install python3-venv) and start again."
        "$python" -m venv venv || fail "venv could not be made: see the lines above."
    fi
}

pip_install() {
    local index=${index_url:-$INDEX_URL} pip=("$venv_python" -m pip install)
    if command -v uv >/dev/null; then pip=(uv pip install --python "$venv_python"); fi
    "${pip[@]}" --only-binary :all: ${index:+--index-url "$index"} "$@"
}

install_torch() {
    local again=()
    [ ! -e venv/.torch ] || again=(--force-reinstall)
    echo unfinished >venv/.torch
    rm -f venv/.requirements venv/.xformers venv/.test-requirements # torch may bring other versions of what they pin
    if [ -n "$TORCH_COMMAND" ]; then
        split "$TORCH_COMMAND"
        "$venv_python" -m "${words[@]}" "${again[@]}"
    elif [ -n "$TORCH_INDEX_URL" ]; then
        split "$(grep -E '^(torch|torchvision)==' requirements-torch.txt)"
        index_url=$TORCH_INDEX_URL pip_install "${words[@]}" "${again[@]}"
    else
        [ ! -e /dev/kfd ] || command -v nvidia-smi >/dev/null ||
            echo "An AMD GPU was found, but the standard build of torch does not use it: set TORCH_INDEX_URL to the ROCm address shown on pytorch.org/get-started and start again."
        pip_install -r requirements-torch.txt -c constraints.txt "${again[@]}"
    fi
}

install_xformers() {
    rm -f venv/.xformers
    pip_install --no-deps --force-reinstall "$@" || return
    "$venv_python" -c 'from modules.devices.choice import choose_compute as c, xformers_trouble as t; print(t(c().device) or "xformers fits.")' ||
        echo "Whether xformers fits could not be tried."
}

# once NAME FILE COMMAND...: runs the command unless it succeeded before with the same FILE, versions and choices.
once() {
    local name=$1 file=$2 stamp=venv/.$1 others=() wanted
    shift 2
    [ "$name" = torch ] || others=(requirements-torch.txt constraints.txt)
    wanted=$({ printf '%s\n' "$installed_for" "$*"; cat "$file" "${others[@]}"; } | cksum)
    [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
    echo "Installing $name"
    "$@" || fail "Installing $name failed: see the lines above, check the network connection, and start again to continue where it stopped."
    printf '%s\n' "$wanted" >"$stamp"
}

install() {
    [ -f "$requirements" ] || fail "REQS_FILE=$requirements does not exist: set it to a file of requirements."
    installed_for="$PYTHON $("$venv_python" -V 2>/dev/null)"
    if [ "$(cat venv/.made 2>/dev/null)" != "$installed_for" ]; then
        ensure_venv
        installed_for="$PYTHON $("$venv_python" -V)"
        printf '%s\n' "$installed_for" >venv/.made
    fi
    installed_for="$("$venv_python" -V) $TORCH_COMMAND $TORCH_INDEX_URL"
    if [ -n "$reinstall_torch" ]; then echo old >venv/.torch; fi
    if [ -n "$reinstall_xformers" ]; then rm -f venv/.xformers; fi
    once torch requirements-torch.txt install_torch
    once requirements "$requirements" pip_install -r "$requirements" -c constraints.txt
    [ -z "$use_xformers" ] || once xformers /dev/null install_xformers "$xformers"
    [ -z "$test" ] || once test-requirements requirements-test.txt pip_install -r requirements-test.txt -c constraints.txt
}

apt_install() { # PACKAGE: try to; only as root, and where there is apt
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return
    echo "Installing $1"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1"; } </dev/null >/dev/null
}

ensure_chromium() { # without its windows where possible: that takes a quarter less of the processor
    local name
    command -v chromium-headless-shell >/dev/null || apt_install chromium-headless-shell && return
    for name in chromium chromium-browser google-chrome; do command -v "$name" >/dev/null && return; done
    apt_install chromium && return
    echo "The tests in a browser need chromium: install it (on Debian: apt install chromium-headless-shell)." >&2
}

run_tests() {
    local status=0 audit=
    ensure_chromium
    export PATH="$PWD/venv/bin:$PATH"
    if [ $# = 0 ]; then # meanwhile, for it waits for the network
        "$venv_python" -m tests.audit </dev/null >venv/.audit 2>&1 &
        audit=$!
    fi
    for check in "ruff format --check ." "ruff check ." "pyright" "pytest"; do
        echo "== $check"
        split "$check"
        if [ "$check" != pytest ]; then
            "$venv_python" -m "${words[@]}" </dev/null || status=1
        elif [ $# -gt 0 ]; then
            "$venv_python" -m pytest "$@" </dev/null || status=1
        else # all of them: two at a time, each computing in one thread, since most of them wait for something
            OMP_NUM_THREADS=1 "$venv_python" -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 40 --durations-min 5 </dev/null || status=1
        fi
    done
    if [ -n "$audit" ]; then
        echo "== pip-audit"
        wait "$audit" || status=1
        cat venv/.audit
    fi
    return $status
}

unset test only_install skip_install reinstall_torch reinstall_xformers use_xformers
split "$COMMANDLINE_ARGS"
set -- "${words[@]}" "$@"
arguments=()
while [ $# -gt 0 ]; do
    case $1 in
        --test) test=1 ;;
        --exit) only_install=1 ;;
        --skip-install) skip_install=1 ;;
        --reinstall-torch) reinstall_torch=1 ;;
        --reinstall-xformers) reinstall_xformers=1 use_xformers=1 ;;
        --xformers) use_xformers=1 arguments+=(--xformers) ;;
        --) shift && arguments+=("$@") && break ;;
        *) arguments+=("$1") ;;
    esac
    shift
done
if [ -z "$skip_install" ]; then install; fi
[ -x "$venv_python" ] || fail "venv does not exist: start once without --skip-install."
if [ -n "$only_install" ]; then exit 0; fi
if [ -n "$test" ]; then
    run_tests "${arguments[@]}"
    exit
fi
exec "$venv_python" app.py "${arguments[@]}"
