"""Compares a `sail` binary with transformers and torch, on folders made afresh. For development, not for CI.

    python Tests/Fixtures/check_against_transformers.py --sail .build/release/sail --seeds 101,102 [MODEL_DIR…]

For each seed: multi-head, grouped and multi-query Qwen2 folders, tied and untied; then each MODEL_DIR. Checked:
`score` (log-probabilities within 2e-5 relative, token counts), greedy `generate` (ids, text, finish),
sampled `generate` (`logps` of the drawn tokens, untempered), one SGD step of DPO by `train` (whole update within
1e-4 of torch's autograd), `export` (loaded by transformers, log-probabilities equal). Exit code 1 if any fails.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import fixture_models as fm  # first: it fixes the CPU paths before torch is loaded
import fixture_steps as steps
import fixture_texts as texts
import torch

TOLERANCE = 2e-5
UPDATE_TOLERANCE = 1e-4
CLOSE_GAP = 1e-4  # below this f32 cannot say which of two logits is larger
LIMIT = 24
RATE = 0.2
FRESH = {
    "mha-tied": {"key_value_heads": 4, "tied": True},
    "mha-untied": {"key_value_heads": 4, "tied": False, "theta": 1e6},
    "gqa-tied": {"key_value_heads": 2, "tied": True, "theta": 1e6, "old_form": True},
    "gqa-untied": {"key_value_heads": 2, "tied": False, "hidden": 48, "shard_size": "100KB"},
    "mqa-untied": {"key_value_heads": 1, "tied": False, "head_size": 16, "epsilon": 1e-5},
}


class Check:
    """Runs `sail` in one folder, counts what was compared and prints what differs."""

    def __init__(self, sail, folder):
        self.sail, self.folder = os.path.abspath(sail), folder
        self.compared, self.failures, self.worst = 0, 0, {}

    def run(self, *arguments):
        result = subprocess.run(
            [self.sail, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=900
        )
        if result.returncode != 0:
            self.fail(f"sail {' '.join(arguments)}: exit {result.returncode}\n{result.stderr[-2000:]}")
        return result.returncode == 0

    def lines(self, name, count=None):
        # Not splitlines(): a JSON string may hold U+2028.
        with open(os.path.join(self.folder, name), encoding="utf-8", newline="\n") as file:
            rows = [json.loads(line) for line in file.read().split("\n") if line]
        if count is not None:
            self.equal(f"{name}: number of lines", len(rows), count)
        return rows

    def fail(self, message):
        self.failures += 1
        print(f"FAILED {message}", flush=True)

    def equal(self, what, found, expected):
        self.compared += 1
        if found != expected:
            self.fail(f"{what}\n  expected {expected!r}\n  found    {found!r}")

    def close(self, kind, what, found, expected, tolerance=TOLERANCE, floor=0.0):
        self.compared += 1
        difference = abs(found - expected) / max(abs(expected), floor)
        self.worst[kind] = max(self.worst.get(kind, 0.0), difference)
        if not difference <= tolerance:
            self.fail(f"{what}: expected {expected!r}, found {found!r}, relative {difference:.2e}")


def check_score(check, name, folder, reference):
    """`score` of all pairs, with and without a reference."""
    rows = texts.PAIRS + texts.LONG_ROWS
    fm.write_jsonl(os.path.join(check.folder, "pairs.jsonl"), rows)
    arguments = ["score", "--model", folder, "--data", "pairs.jsonl", "--out", "score.jsonl"]
    if not check.run(*arguments, *(["--reference", reference] if reference else [])):
        return
    tokenizer = fm.load_tokenizer(folder)
    end, _ = fm.end_tokens(folder, tokenizer)
    models = {"logps": fm.load(folder)} | ({"ref_logps": fm.load(reference)} if reference else {})
    for index, (row, found) in enumerate(zip(rows, check.lines("score.jsonl", len(rows)))):
        ids = fm.encode_pair(tokenizer, row, end)
        for side in ["chosen", "rejected"]:
            check.equal(f"{name} row {index} {side}_tokens", found.get(f"{side}_tokens"), len(ids[f"{side}_ids"]))
            for key, model in models.items():
                expected = float(fm.logp(model, ids["prompt_ids"], ids[f"{side}_ids"]))
                key = f"{key}/{side}"
                check.close("score", f"{name} row {index} {key}", found.get(key, float("nan")), expected)


def first_difference(model, prompt_ids, found, expected):
    """The gap between the two best logits where two greedy texts part."""
    shared = next((i for i, (a, b) in enumerate(zip(found, expected)) if a != b), min(len(found), len(expected)))
    logits = model(torch.tensor([prompt_ids + expected[:shared]]), use_cache=False).logits[0, -1].double()
    best = logits.topk(2).values
    return float(best[0] - best[1])


def check_greedy(check, name, folder):
    rows = [{"prompt": prompt} for prompt in texts.GREEDY_PROMPTS]
    fm.write_jsonl(os.path.join(check.folder, "prompts.jsonl"), rows)
    arguments = ["--temperature", "0", "--max-new-tokens", str(LIMIT)]
    if not check.run("generate", "--model", folder, "--data", "prompts.jsonl", "--out", "greedy.jsonl", *arguments):
        return
    tokenizer, model = fm.load_tokenizer(folder), fm.load(folder)
    _, ends = fm.end_tokens(folder, tokenizer)
    for row, found in zip(rows, check.lines("greedy.jsonl", len(rows))):
        prompt_ids = tokenizer(row["prompt"])["input_ids"]
        ids, total, _ = fm.greedy(model, prompt_ids, ends, LIMIT)
        what = f"{name} greedy {row['prompt']!r}"
        check.equal(f"{what} prompt", found["prompt"], row["prompt"])
        token_ids = found["token_ids"][0]
        if token_ids != ids and first_difference(model, prompt_ids, token_ids, ids) < CLOSE_GAP:
            print(f"{what}: parted at two logits closer than {CLOSE_GAP}, not counted")
            continue
        check.equal(f"{what} token_ids", token_ids, ids)
        check.equal(f"{what} text", found["completions"][0], tokenizer.decode(ids, skip_special_tokens=True))
        check.equal(f"{what} finish", found["finish"], ["eos" if ids[-1] in ends else "length"])
        check.close("greedy logps", f"{what} logps", found["logps"][0], total, floor=0.5)


def check_sampled(check, name, folder, label, options):
    """`logps` is the untempered sum of the drawn tokens, whatever the sampling options."""
    rows = [{"prompt": prompt, "other": 1} for prompt in texts.GREEDY_PROMPTS[:12]]
    fm.write_jsonl(os.path.join(check.folder, "prompts.jsonl"), rows)
    arguments = ["--samples", "3", "--max-new-tokens", str(LIMIT), "--seed", "5", *options]
    out = f"{label}.jsonl"
    if not check.run("generate", "--model", folder, "--data", "prompts.jsonl", "--out", out, *arguments):
        return
    tokenizer, model = fm.load_tokenizer(folder), fm.load(folder)
    _, ends = fm.end_tokens(folder, tokenizer)
    for row, found in zip(rows, check.lines(out, len(rows))):
        prompt_ids = tokenizer(row["prompt"])["input_ids"]
        what = f"{name} {label} {row['prompt']!r}"
        for key in ["completions", "token_ids", "logps", "finish"]:
            check.equal(f"{what} number of {key}", len(found[key]), 3)
        for ids, text, total, finish in zip(found["token_ids"], found["completions"], found["logps"], found["finish"]):
            check.close("sampled logps", f"{what} logps", total, float(fm.logp(model, prompt_ids, ids)), floor=0.5)
            check.equal(f"{what} text", text, tokenizer.decode(ids, skip_special_tokens=True))
            check.equal(f"{what} finish", finish, "eos" if ids[-1] in ends else "length")
            check.equal(f"{what} end token inside", any(token in ends for token in ids[:-1]), False)
            check.equal(f"{what} length", len(ids) == LIMIT or finish == "eos", True)


RUN_FILE = """\
model: {model}
method: dpo
reference: {reference}
data:
  train: train.jsonl
  shuffle: false
  template: plain
objective:
  loss: sigmoid
  beta: 0.1
batch:
  pairs: 8
  groups: 4
optimizer:
  name: sgd
  learning_rate: {rate}
  schedule: constant
  weight_decay: 0
  clip: 0
precision: f32
steps: 1
checkpoint:
  every: 1
  keep: 1
seed: 3
output: run
"""


def torch_update(folder, reference):
    """after − before of one SGD step of DPO on the eight pairs, and the loss."""
    tokenizer = fm.load_tokenizer(folder)
    end, _ = fm.end_tokens(folder, tokenizer)
    encoded = [fm.encode_pair(tokenizer, row, end) for row in texts.PAIRS]
    rows = [
        {"prompt_ids": row["prompt_ids"], "response_ids": [row["chosen_ids"], row["rejected_ids"]]} for row in encoded
    ]
    rows = steps.reference_rows(fm.load(reference), rows)
    loss, _, _, update, _, _ = steps.update_of(folder, steps.pair_loss(rows, steps.dpo_rows, {}), RATE, torch.float32)
    return loss, update


def state(folder):
    return {key: value.detach().clone() for key, value in fm.load(folder).named_parameters()}


def check_step(check, name, folder, reference):
    """One step of `train`; the exported folder in transformers against torch's own step."""
    fm.write_jsonl(os.path.join(check.folder, "train.jsonl"), texts.PAIRS)
    with open(os.path.join(check.folder, "run.yaml"), "w", encoding="utf-8") as file:
        file.write(RUN_FILE.format(model=json.dumps(folder), reference=json.dumps(reference), rate=RATE))
    if not check.run("train", "--config", "run.yaml", "--resume", "never", "--progress", "plain"):
        return
    checkpoint = os.path.join("run", "checkpoints", "step-00000001")
    if not check.run("inspect", "--verify", checkpoint) or not check.run("export", checkpoint, "--out", "exported"):
        return
    loss, expected = torch_update(folder, reference)
    before = state(folder)
    for result in ["exported", os.path.join("run", "model")]:
        after = state(os.path.join(check.folder, result))
        check.equal(f"{name} {result} tensors", sorted(after), sorted(before))
        found = {key: after[key] - before[key] for key in before}
        check.close("update", f"{name} {result} update", steps.distance(expected, found), 0.0, UPDATE_TOLERANCE, 1.0)
    losses = [line["loss"] for line in check.lines(os.path.join("run", "metrics.jsonl")) if "loss" in line]
    check.close("loss", f"{name} loss", losses[0] if losses else float("nan"), loss)
    with torch.no_grad():
        check_score(check, f"{name} exported", os.path.join(check.folder, "exported"), None)


def check_folder(sail, name, folder, reference):
    with tempfile.TemporaryDirectory(prefix="sail-check-") as work:
        check = Check(sail, work)
        with torch.no_grad():
            check_score(check, name, folder, reference)
            check_greedy(check, name, folder)
            check_sampled(check, name, folder, "plain", [])
            options = ["--temperature", "0.7", "--top-p", "0.9", "--top-k", "50"]
            check_sampled(check, name, folder, "tempered", options)
        if reference:
            check_step(check, name, folder, reference)
    worst = ", ".join(f"{kind} {value:.1e}" for kind, value in check.worst.items())
    print(f"{name}: {check.compared} compared, {check.failures} failed; worst relative: {worst}", flush=True)
    return check.failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL_DIR", help="further folders: score and generate only")
    parser.add_argument("--sail", required=True, metavar="PATH")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[])
    arguments = parser.parse_args()
    if not arguments.seeds and not arguments.models:
        parser.error("give --seeds or a MODEL_DIR")
    failures = 0
    with tempfile.TemporaryDirectory(prefix="sail-folders-") as work:
        tokenizer = fm.train_tokenizer()
        for seed in arguments.seeds:
            folders = {name: os.path.join(work, f"{name}-{seed}") for name in FRESH}
            for index, (name, spec) in enumerate(FRESH.items()):
                fm.save_folder(folders[name], {"seed": 1000 * seed + index, **spec}, tokenizer)
            names = list(FRESH)
            for name, other in zip(names, names[1:] + names[:1]):
                failures += check_folder(arguments.sail, f"{name}-{seed}", folders[name], folders[other])
    for folder in arguments.models:
        failures += check_folder(arguments.sail, folder, os.path.abspath(folder), None)
    print("all equal" if failures == 0 else f"{failures} failed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
