#!/usr/bin/env bash
# Fresh machine → packages, format and layer checks, build, the whole test suite.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" -eq 0 ]; then
  # Open MPI refuses to start as root without these.
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

phase() {
  local name=$1 start=$SECONDS
  shift
  echo "── $name"
  "$@"
  echo "── $name: $((SECONDS - start)) s"
}

options=(-c release -Xswiftc -enable-testing --scratch-path .build/testing)
build_tests() { swift build --build-tests "${options[@]}" --quiet; }
run_tests() { swift test --skip-build "${options[@]}" "$@"; }
check_launcher() {
  mpirun --version | head -n 1
  mpirun --oversubscribe -n 2 true
}

phase "packages" scripts/setup.sh
phase "mpirun" check_launcher
phase "format" swift format lint --strict --recursive Sources Tests Package.swift
phase "layers" scripts/check-layers.sh
phase "benchmark harness" python3 -m unittest discover -s Benchmarks
phase "build" build_tests
# Suites that start mpirun run by themselves: they need the CPUs.
phase "unit tests" run_tests --skip 'CommTests|EndToEndTests'
phase "tests of Comm under mpirun" run_tests --filter CommTests
phase "end-to-end tests" run_tests --filter EndToEndTests
echo "all tests passed in $SECONDS s"
