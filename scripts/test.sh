#!/usr/bin/env bash
# Everything a change must pass: lint, types, then the tests, each in its tox environment.
# Arguments go to pytest: bash scripts/test.sh -k predictor
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/make-venv.sh .tox/bootstrap
.tox/bootstrap/bin/pip install --quiet -c constraints.txt tox

tox=(.tox/bootstrap/bin/tox run -e "lint,types,py" -- "$@")
if [ "$(uname -s)" = Linux ]; then
  bash scripts/install-system.sh display
  # A fixed screen, so that a window test does not depend on the desktop it runs on.
  exec xvfb-run -a -s "-screen 0 1400x900x24" "${tox[@]}"
fi
exec "${tox[@]}"
