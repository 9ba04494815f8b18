#!/usr/bin/env bash
# Create .venv exactly as requirements/lock.txt specifies; returns at once if it is up to date.
#
# Needs only python3.11. pip's and uv's own configuration and environment variables decide where packages
# come from; no index is named here. A package whose hash is not in the lock is refused.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly python="${PYTHON:-python3.11}"
readonly lock=requirements/lock.txt bootstrap=requirements/bootstrap.txt
readonly environment=.venv
readonly environment_python="$environment/bin/python"
readonly uv="$environment/uv/bin/uv"            # beside the locked packages, so that a sync keeps it
readonly finished="$environment/finished.txt"   # written last: what this environment was created from

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

# A virtual environment contains its own path in its scripts, so the path is part of its identity.
wanted() {
    pwd
    cat "$lock" "$bootstrap" pyproject.toml "scripts/$(basename "${BASH_SOURCE[0]}")" | sha256sum
}

up_to_date() { [[ -f $finished ]] && [[ "$(<"$finished")" == "$(wanted)" ]]; }

# Complete: finished once, and at this path. A half-installed package looks installed to every installer,
# so an unfinished environment is recreated; downloads stay in the cache.
complete() { [[ -f $finished ]] && [[ "$(head -n 1 "$finished")" == "$PWD" ]] && "$environment_python" -c "" 2>/dev/null; }

# Run a command and keep its output in `output`, to show it only on failure.
quietly() { output="$("$@" 2>&1 </dev/null)"; }

has_ensurepip() { "$python" -c "import ensurepip, venv" 2>/dev/null; }

# Debian ships ensurepip, which installs pip into a bare Python, in a separate package.
install_ensurepip() {
    local -r package="$(basename "$python")-venv"
    local -r hint="run as root 'apt-get install $package', or use another Python 3.11: make PYTHON=<path>"
    local -a as_root=()
    command -v apt-get >/dev/null || fail "$python has no ensurepip: install it, or use another Python 3.11: make PYTHON=<path>"
    if [[ $(id -u) != 0 ]]; then
        command -v sudo >/dev/null || fail "$python has no ensurepip (Debian ships it in $package), and this user is not root: $hint"
        as_root=(sudo)
        [[ -t 0 ]] || as_root+=(--non-interactive)
    fi
    say "$python has no ensurepip: installing Debian's package $package"
    local -ra install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$package")
    quietly "${install[@]}" || { quietly "${as_root[@]}" apt-get update && quietly "${install[@]}"; } || {
        printf '%s\n' "$output" >&2
        fail "apt-get could not install $package: $hint"
    }
}

# uv does not read pip.conf: pass on an index or certificate that only pip is configured with.
pass_on_pip_configuration() {
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

# --no-deps: the lock is complete, and pip does not support the overrides in pyproject.toml.
install_lock() {
    if install_uv && "$uv" --quiet pip sync --python "$environment_python" --require-hashes --only-binary :all: "$lock"; then
        return
    fi
    say "uv could not install the lock; falling back to pip"
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
        fail "'$python' is not Python 3.11: install it (Debian 12: apt-get install python3.11) or set PYTHON=<path>"
    if ! complete; then
        has_ensurepip || install_ensurepip
        say "creating $environment: about 220 packages, 3 GB to download the first time"
        "$python" -m venv --clear "$environment"
    fi
    rm -f "$finished"
    pass_on_pip_configuration
    install_lock
    install_project
    wanted >"$finished"
    say "$environment is ready"
}

# Concurrent calls wait for each other.
if command -v flock >/dev/null; then
    exec 9<"scripts/$(basename "${BASH_SOURCE[0]}")"
    flock 9
fi
main
