"""Compares a `sail` binary with transformers and torch, on folders made afresh. For development, not for CI.

    python Tests/Fixtures/check_against_transformers.py --sail .build/release/sail --seeds 101,102 [MODEL_DIR…]

For each seed: multi-head, grouped and multi-query Qwen2 folders, tied and untied; with --families also a folder of
each decoder family with drawn sizes, head counts, ties and biases, with --adapters also adapters by peft on such
folders (check_adapters.py), with --rewards reward models in the published forms (check_rewards.py); then each
MODEL_DIR. Checked:
`score` (log-probabilities within 2e-5 relative, token counts), greedy `generate` (ids, text, finish),
sampled `generate` (`logps` of the drawn tokens, untempered), one SGD step by `train` for each loss (check_steps.py:
whole update within 1e-4 of torch's autograd; families: of DPO), `export` (loaded by transformers, log-probabilities
equal); for the folders of --online also two steps of every kind of online run (check_online.py). Exit code 1 if any fails.
"""

import argparse
import os
import sys
import tempfile

import fixture_models as fm  # first: it fixes the CPU paths before torch is loaded
import fixture_families as families
import fixture_rewards as rewards
import fixture_texts as texts
import numpy
import torch
from check_adapters import check_adapter
from check_online import check_online
from check_rewards import check_reward
from check_rewards import drawn as drawn_reward
from check_steps import check_steps
from check_tools import Check

CLOSE_GAP = 1e-4  # below this f32 cannot say which of two logits is larger
LIMIT = 24
PARTS = ["generate", "steps", "online"]
FRESH = {
    "mha-tied": {"key_value_heads": 4, "tied": True},
    "mha-untied": {"key_value_heads": 4, "tied": False, "theta": 1e6},
    "gqa-tied": {"key_value_heads": 2, "tied": True, "theta": 1e6, "old_form": True},
    "gqa-untied": {"key_value_heads": 2, "tied": False, "hidden": 48, "shard_size": "100KB"},
    "mqa-untied": {"key_value_heads": 1, "tied": False, "head_size": 16, "epsilon": 1e-5},
}


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


def check_folder(sail, name, folder, reference, parts, cases=()):
    with tempfile.TemporaryDirectory(prefix="sail-check-") as work:
        check = Check(sail, work)
        if "generate" in parts:
            with torch.no_grad():
                check_score(check, name, folder, reference)
                check_greedy(check, name, folder)
                check_sampled(check, name, folder, "plain", [])
                options = ["--temperature", "0.7", "--top-p", "0.9", "--top-k", "50"]
                check_sampled(check, name, folder, "tempered", options)
        if "steps" in parts:
            check_steps(check, name, folder, reference, cases)
            if os.path.isdir(check.path("exported")):
                with torch.no_grad():
                    check_score(check, f"{name} exported", check.path("exported"), None)
        if "online" in parts:
            check_online(check, name, folder, reference, cases)
        return check.summary(name)


def check_adapters(sail, names, seed, work, tokenizer):
    """Adapters drawn afresh on freshly drawn folders of decoder families."""
    generator = numpy.random.Generator(numpy.random.PCG64([seed, 1]))
    failures = 0
    for name in names:
        base = os.path.join(work, f"base-{name}-{seed}")
        spec = families.drawn(name, generator)
        fm.save_folder(base, spec, tokenizer)
        with tempfile.TemporaryDirectory(prefix="sail-check-") as folder:
            check = Check(sail, folder)
            check_adapter(check, f"adapter of {name}-{seed}", base, spec.get("family", "qwen2"), generator)
            failures += check.summary(f"adapter of {name}-{seed}")
    return failures


def check_rewards(sail, names, seed, work, tokenizer):
    """Reward models in the published forms, drawn afresh."""
    generator = numpy.random.Generator(numpy.random.PCG64([seed, 2]))
    failures = 0
    for name in names:
        with tempfile.TemporaryDirectory(prefix="sail-check-") as folder:
            check, what = Check(sail, folder), f"reward {name}-{seed}"
            check_reward(check, what, os.path.join(work, f"reward-{name}"), drawn_reward(name, generator), tokenizer)
            failures += check.summary(what)
    return failures


def check_families(sail, names, seed, work, tokenizer, parts):
    """Freshly drawn folders of decoder families; each has the next one as its reference."""
    generator = numpy.random.Generator(numpy.random.PCG64(seed))
    folders = {}
    for name in names:
        folders[name] = os.path.join(work, f"{name}-{seed}")
        spec = families.drawn(name, generator)
        print(name, {key: value for key, value in spec.items() if key not in ("seed", "rope")}, flush=True)
        fm.save_folder(folders[name], spec, tokenizer)
    failures = 0
    for name, other in zip(names, names[1:] + names[:1]):
        parts = [part for part in parts if part != "online"]
        failures += check_folder(sail, f"{name}-{seed}", folders[name], folders[other], parts, ["dpo"])
    return failures


def split(text):
    return text.split(",")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL_DIR", help="further folders: score and generate only")
    parser.add_argument("--sail", required=True, metavar="PATH")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in split(text)], default=[])
    parser.add_argument("--folders", type=split, default=list(FRESH), help=f"none: 0; default: {','.join(FRESH)}")
    parser.add_argument(
        "--families", nargs="?", type=split, const=list(families.DRAWN), default=[], metavar="NAMES",
        help=f"without names: {','.join(families.DRAWN)}",
    )
    parser.add_argument(
        "--adapters", nargs="?", type=split, const=list(families.DRAWN), default=[], metavar="NAMES",
        help="families whose folders get an adapter; without names: all",
    )
    parser.add_argument(
        "--rewards", nargs="?", type=split, const=list(rewards.REWARDS), default=[], metavar="NAMES",
        help=f"reward models; without names: {','.join(rewards.REWARDS)}",
    )
    parser.add_argument("--online", type=split, default=["gqa-tied"], help="folders; default: gqa-tied")
    parser.add_argument("--parts", type=split, default=PARTS, help=f"default: {','.join(PARTS)}")
    parser.add_argument("--cases", type=split, default=[], help="training steps; default: all")
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
                if name not in arguments.folders:
                    continue
                parts = [part for part in arguments.parts if part != "online" or name in arguments.online]
                pair = folders[name], folders[other]
                failures += check_folder(arguments.sail, f"{name}-{seed}", *pair, parts, arguments.cases)
            names = arguments.families
            failures += check_families(arguments.sail, names, seed, work, tokenizer, arguments.parts)
            failures += check_adapters(arguments.sail, arguments.adapters, seed, work, tokenizer)
            failures += check_rewards(arguments.sail, arguments.rewards, seed, work, tokenizer)
    for folder in arguments.models:
        failures += check_folder(arguments.sail, folder, os.path.abspath(folder), None, ["generate"])
    print("all equal" if failures == 0 else f"{failures} failed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
