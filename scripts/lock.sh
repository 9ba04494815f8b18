#!/usr/bin/env bash
# Update requirements/lock.txt and requirements/bootstrap.txt, with hashes and without index URLs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly uv=.venv/uv/bin/uv
export UV_CUSTOM_COMPILE_COMMAND="make lock"
compile=("$uv" pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url
    --no-emit-find-links --no-annotate ${UPGRADE:+--upgrade})

"${compile[@]}" pyproject.toml --group dev -o requirements/lock.txt
"${compile[@]}" requirements/bootstrap.in -o requirements/bootstrap.txt
