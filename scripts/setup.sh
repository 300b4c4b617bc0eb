#!/usr/bin/env bash
# Installs the system packages that Sail needs and that are missing. Debian and Ubuntu.
# As root or through sudo only if something is missing; on a cluster without either it says what to load.
set -euo pipefail

packages=(libopenmpi-dev openmpi-bin libopenblas-dev libdnnl-dev libzstd-dev zlib1g-dev
  libxxhash-dev libjansson-dev pkg-config git)

if ! command -v swift >/dev/null 2>&1; then
  echo "setup: there is no Swift toolchain on PATH: install Swift 6.2 or newer from https://swift.org/install (on a cluster: module load swift) and run this again." >&2
  exit 1
fi

missing=()
if command -v dpkg-query >/dev/null 2>&1; then
  for package in "${packages[@]}"; do
    status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
    [ "$status" = "install ok installed" ] || missing+=("$package")
  done
else
  # Not Debian: what matters is that the libraries are found.
  for library in ompi-c openblas libzstd zlib libxxhash jansson; do
    pkg-config --exists "$library" 2>/dev/null || missing+=("$library")
  done
  command -v mpirun >/dev/null 2>&1 || missing+=(mpirun)
fi
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  echo "setup: not found: ${missing[*]}. On a cluster load modules for Open MPI, OpenBLAS, oneDNN, zstd, zlib, xxHash and jansson (module avail), elsewhere install their development packages, then run this again." >&2
  exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
  run=()
elif command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
  run=(sudo)
else
  echo "setup: these packages are missing: ${missing[*]}. Ask an administrator for: apt-get install ${missing[*]} — or load modules for Open MPI, OpenBLAS, oneDNN, zstd, zlib, xxHash and jansson." >&2
  exit 1
fi
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { "${run[@]}" apt-get update -q && "${run[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 15 "$log" >&2
  echo "setup: apt-get could not install ${missing[*]}; its last lines are above." >&2
  exit 1
fi
rm -f "$log"
