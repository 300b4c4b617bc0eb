#!/usr/bin/env bash
# Fresh machine → packages, release build, the main job under mpirun on two ranks, a comparison.
# Makes a preference data set with a known true reward and a small model, then trains it:
# SFT from scratch, DPO, SAIL-DPR and SAIL-DPP from the same SFT model. Writes under runs/quickstart/.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
if [ "$(id -u)" -eq 0 ]; then
  # Open MPI refuses to start as root without these.
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

names=()
times=()
timed() {
  local name=$1 start=$SECONDS
  shift
  echo "── $name"
  "$@"
  names+=("$name")
  times+=($((SECONDS - start)))
}

out=runs/quickstart
if [ -e "$out" ]; then
  old=$out-$(date +%Y%m%d-%H%M%S)
  mv "$out" "$old"
  echo "── an earlier $out was moved to $old"
fi
mkdir -p "$out"

sail=.build/release/sail
ranks=(mpirun --oversubscribe -n 2)
judge=(--data "$out/data/eval.jsonl" --judge rule:synthetic --max-new-tokens 64)
train() { "${ranks[@]}" "$sail" train --config "examples/quickstart/$1.yaml"; }
evaluate() {
  local name=$1
  shift
  "${ranks[@]}" "$sail" evaluate --model "$out/$name/model" --reference "$out/sft/model" \
    "${judge[@]}" "$@" --out "$out/$name/evaluation" >"$out/$name/evaluation.txt"
}
against_sft=(--against "sft=$out/sft/evaluation/generations.jsonl")
against_both=("${against_sft[@]}" --against "dpo=$out/dpo/evaluation/generations.jsonl")

timed "build (first time a few minutes)" swift build -c release --product sail --quiet
main_start=$SECONDS
timed "data" "$sail" synthesize --out "$out/data" --label-noise 0.1
timed "train sft" train sft
timed "evaluate sft" evaluate sft
timed "train dpo" train dpo
timed "evaluate dpo" evaluate dpo "${against_sft[@]}"
for method in sail-dpr sail-dpp; do
  timed "train $method" train "$method"
  timed "evaluate $method" evaluate "$method" "${against_both[@]}"
done
main_seconds=$((SECONDS - main_start))

"$sail" compare "$out"/{sft,dpo,sail-dpr,sail-dpp} | tee "$out/comparison.md"
echo
for index in "${!names[@]}"; do printf '%6d s  %s\n' "${times[$index]}" "${names[$index]}"; done
printf '%6d s  in all, %d s of them the main job after the build\n' "$SECONDS" "$main_seconds"
echo "Each figure stands with its 95 % interval; samples: $out/*/evaluation/generations.jsonl"
