#!/bin/sh
# The main job on a fresh machine: installs what is missing, builds, and trains the same small model with all eleven
# variants on associative recall, which needs no data. Arguments go to abl-run, e.g. --steps 50.
set -eu
cd "$(dirname "$0")/.."
. scripts/setup.sh
install_missing
build release
exec build/release/abl-run --spec specs/*.att --preset recall --out results "$@"
