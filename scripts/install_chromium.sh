#!/usr/bin/env bash
# Installs Chromium for the browser tests, with apt-get as root or with sudo. Where it may not, it says so and
# exits with 0: the tests are then skipped.
set -euo pipefail

for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then exit 0; fi
done
as_root=()
if [ "$(id -u)" != 0 ]; then as_root=(sudo --non-interactive); fi
install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends chromium)
if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo --non-interactive true 2>/dev/null; }; then
    "${install[@]}" >/dev/null 2>&1 || { "${as_root[@]}" apt-get update >/dev/null && "${install[@]}" >/dev/null; } || {
        echo "apt-get could not install chromium: the browser tests are skipped" >&2
    }
else
    echo "no chromium, and no right to install it: the browser tests are skipped" >&2
fi
