#!/usr/bin/env bash
# Runs the example files under mpirun on two ranks: all of them, or those named (scripts/examples.sh dpo sail-dpr).
# Makes a synthetic data set and an SFT model first, trains each method 300 steps, looks whether what comes out is
# sane (every number finite, margin up, KL bounded) and prints a table. Writes under runs/examples/.
# SAIL_EXAMPLES_SET="steps=3 evaluate.every=3" overrides keys of every file.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
if [ "$(id -u)" -eq 0 ]; then
  # Open MPI refuses to start as root without these.
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
sail=.build/release/sail
out=runs/examples
largest_kl=20
overrides=()
for setting in ${SAIL_EXAMPLES_SET:-}; do overrides+=(--set "$setting"); done

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
  for file in examples/*.yaml; do
    name=$(basename "$file" .yaml)
    [ "$name" = sft ] || names+=("$name")
  done
fi
for name in "${names[@]}"; do
  [ -f "examples/$name.yaml" ] || { echo "examples: there is no examples/$name.yaml" >&2; exit 2; }
done

train() { mpirun --oversubscribe -n 2 "$sail" train --config "examples/$1.yaml" "${@:2}"; }

# Prints what is not sane in a run's metrics; nothing if all is well.
insane() {
  awk -v largest="$largest_kl" '
    function number(key,   text) {
      if (!match($0, "\"" key "\": [^,}]*")) return "none"
      text = substr($0, RSTART + length(key) + 4, RLENGTH - length(key) - 4)
      return text
    }
    tolower($0) ~ /: *(-?nan|-?inf|null)/ { print "a number is not finite: line " NR }
    /"update_skipped"/ { print "an update was skipped: line " NR }
    /"eval_loss"/ { margin = number("eval_rewards/margins"); kl = number("eval_objective/kl"); count++ }
    END {
      if (!count) { print "there is no evaluation"; exit }
      if (margin == "none" || margin + 0 <= 0) print "the margin on held-out pairs is " margin ", not above 0"
      if (kl == "none" || kl + 0 > largest) print "the KL to the reference is " kl ", above " largest
    }' "$1/metrics.jsonl"
}

swift build -c release --product sail --quiet
mkdir -p "$out"
[ -d "$out/data" ] || "$sail" synthesize --out "$out/data" --label-noise 0.1
[ -d "$out/sft/model" ] || train sft --resume auto
failed=0
folders=()
for name in "${names[@]}"; do
  echo "── $name"
  rm -rf "${out:?}/$name"
  train "$name" ${overrides[@]+"${overrides[@]}"}
  folders+=("$out/$name")
  problems=$(insane "$out/$name")
  if [ -n "$problems" ]; then
    echo "$name: $problems" >&2
    failed=$((failed + 1))
  fi
done
echo
"$sail" compare "${folders[@]}"
echo "${#names[@]} examples in $SECONDS s, $failed of them not sane"
[ "$failed" -eq 0 ]
