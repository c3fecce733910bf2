#!/usr/bin/env bash
# Installs napari-sam and napari, with the tested versions, into .venv of this checkout.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/make-venv.sh .venv
.venv/bin/pip install --quiet -c constraints.txt ".[qt]"
