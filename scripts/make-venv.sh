#!/usr/bin/env bash
# Makes the virtual environment named by the argument, unless it is there already.
# PYTHON chooses the interpreter (default: python3).
set -euo pipefail
folder=$1
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "napari-sam needs Python 3.11 or newer; set PYTHON to such an interpreter." >&2
  exit 1
fi
# Debian ships Python without ensurepip, and then venv makes an environment without pip.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  bash "$(dirname "$0")/install-system.sh" venv
fi
if [ ! -x "$folder/bin/pip" ]; then
  "$python" -m venv "$folder"
fi
