#!/usr/bin/env bash
# Make .venv, exactly as requirements/lock.txt has it; at once when it already is so.
#
# Needs python3.11 alone. Where packages come from is the user's business: pip's and uv's own
# configuration and environment variables decide, and no index is named here. A package whose
# hash the lock does not hold is refused.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly python="${PYTHON:-python3.11}"
readonly lock=requirements/lock.txt bootstrap=requirements/bootstrap.txt
readonly environment=.venv
readonly environment_python="$environment/bin/python"
readonly uv="$environment/uv/bin/uv"            # beside the locked packages, so that a sync keeps it
readonly finished="$environment/finished.txt"   # written last: what this environment was made from

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

# A virtual environment holds its own path in its scripts, so that path is part of what it is.
wanted() {
    pwd
    cat "$lock" "$bootstrap" pyproject.toml "scripts/$(basename "${BASH_SOURCE[0]}")" | sha256sum
}

up_to_date() { [[ -f $finished ]] && [[ "$(<"$finished")" == "$(wanted)" ]]; }

# Whole: finished once, and at this place. A package cut off half-way looks installed to every
# installer, so an environment that was not finished is made anew; the downloads are kept in the cache.
whole() { [[ -f $finished ]] && [[ "$(head -n 1 "$finished")" == "$PWD" ]] && "$environment_python" -c "" 2>/dev/null; }

# Run a command and keep what it says in `output`, to show only when it matters.
quietly() { output="$("$@" 2>&1 </dev/null)"; }

has_ensurepip() { "$python" -c "import ensurepip, venv" 2>/dev/null; }

# Debian keeps ensurepip, the one thing that brings pip to a bare Python, in a package of its own.
bring_ensurepip() {
    local -r package="$(basename "$python")-venv"
    local -r way_out="have root run 'apt-get install $package', or give another Python 3.11: make PYTHON=<path>"
    local -a as_root=()
    command -v apt-get >/dev/null || fail "$python has no ensurepip: install it, or give another Python 3.11: make PYTHON=<path>"
    if [[ $(id -u) != 0 ]]; then
        command -v sudo >/dev/null || fail "$python has no ensurepip (Debian keeps it in $package), and this user is not root: $way_out"
        as_root=(sudo)
        [[ -t 0 ]] || as_root+=(--non-interactive)
    fi
    say "$python has no ensurepip: installing Debian's package $package"
    local -ra install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$package")
    quietly "${install[@]}" || { quietly "${as_root[@]}" apt-get update && quietly "${install[@]}"; } || {
        printf '%s\n' "$output" >&2
        fail "apt-get could not install $package: $way_out"
    }
}

# uv reads no pip.conf; an index or a certificate that only pip is told of is handed on.
hand_on_pip_configuration() {
    local index certificate
    index="${PIP_INDEX_URL:-$("$environment_python" -m pip config get global.index-url 2>/dev/null || true)}"
    certificate="${PIP_CERT:-$("$environment_python" -m pip config get global.cert 2>/dev/null || true)}"
    if [[ -n $index && -z ${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-} ]]; then export UV_DEFAULT_INDEX="$index"; fi
    if [[ -n $certificate && -z ${SSL_CERT_FILE:-} ]]; then export SSL_CERT_FILE="$certificate"; fi
}

install_uv() {
    "$environment_python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
        --only-binary :all: --target "$environment/uv" --upgrade -r "$bootstrap"
}

# --no-deps: the lock is complete, and pip does not know the overrides of pyproject.toml.
install_lock() {
    if install_uv && "$uv" --quiet pip sync --python "$environment_python" --require-hashes --only-binary :all: "$lock"; then
        return
    fi
    say "uv could not install the lock; pip does it, slower"
    "$environment_python" -m pip install --disable-pip-version-check --require-hashes --no-deps \
        --only-binary :all: -r "$lock"
}

install_project() {
    "$environment_python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
        --no-index --editable .
}

main() {
    if up_to_date; then return; fi
    "$python" -c "import sys; sys.exit(sys.version_info[:2] != (3, 11))" 2>/dev/null ||
        fail "needs python3.11, and '$python' is not it: install it (Debian 12: apt-get install python3.11) or say PYTHON=<path>"
    if ! whole; then
        has_ensurepip || bring_ensurepip
        say "making $environment: about 200 packages, 3 GB to download the first time"
        "$python" -m venv --clear "$environment"
    fi
    rm -f "$finished"
    hand_on_pip_configuration
    install_lock
    install_project
    wanted >"$finished"
    say "$environment is ready"
}

# Two makes at once take turns.
if command -v flock >/dev/null; then
    exec 9<"scripts/$(basename "${BASH_SOURCE[0]}")"
    flock 9
fi
main
