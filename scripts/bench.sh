#!/usr/bin/env bash
# Builds Sail and measures it; with --peer TRL and llama.cpp beside it. See Benchmarks/README.md and --help.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
swift build -c release --product sail --quiet
exec python3 Benchmarks/bench.py "$@"
