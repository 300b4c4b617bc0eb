"""Low-rank adapters of a `sail` binary against peft and torch, on bases and adapters made afresh."""

import copy
import json
import os

import check_tools as tools
import fixture_adapters as adapters
import fixture_models as fm
import fixture_steps as steps
import fixture_texts as texts
import torch
from safetensors.torch import load_file

UPDATE = 0.01  # the update's size, as a share of the adapter's
LIMIT = 16
DRAWS = 5  # at most, for an adapter whose gradient f32 can resolve


def drawn(family, generator):
    """Rank, scaling and targets of an adapter: some of the projections, or all."""
    names = adapters.FUSED if family == "phi3" else adapters.PROJECTIONS
    chosen = [name for name in names if generator.integers(2)]
    if not chosen or generator.integers(4) == 0:
        chosen = names
    return {
        "seed": int(generator.integers(1 << 30)),
        "rank": int(generator.integers(1, 9)),
        "alpha": int(generator.integers(1, 17)),
        "targets": chosen,
        "rslora": bool(generator.integers(2)),
    }


def logps(model, rows):
    return [
        [float(fm.logp(model, row["prompt_ids"], ids)) for ids in row["response_ids"]] for row in rows
    ]


def check_score(check, name, folder, expected, base=None):
    """Log-probabilities of the pairs under a folder that `sail` takes."""
    arguments = ["score", "--model", folder, "--data", "train.jsonl", "--out", "score.jsonl"]
    if not check.run(*arguments, *(["--base", base] if base else [])):
        return
    for index, (found, pair) in enumerate(zip(check.lines("score.jsonl", len(expected)), expected)):
        for side, value in zip(["chosen", "rejected"], pair):
            check.close("score", f"{name} row {index} logps/{side}", found[f"logps/{side}"], value)


def check_greedy(check, name, folder, model, tokenizer, ends):
    fm.write_jsonl(check.path("prompts.jsonl"), [{"prompt": row["prompt"]} for row in texts.PAIRS])
    arguments = ["--temperature", "0", "--max-new-tokens", str(LIMIT), "--out", "greedy.jsonl"]
    if not check.run("generate", "--model", folder, "--data", "prompts.jsonl", *arguments):
        return
    for row, found in zip(texts.PAIRS, check.lines("greedy.jsonl", len(texts.PAIRS))):
        ids, _, gap = fm.greedy(model, tokenizer(row["prompt"])["input_ids"], ends, LIMIT)
        if gap > 1e-4:
            check.equal(f"{name} greedy {row['prompt']!r}", found["token_ids"][0], ids)


def tensors(folder):
    return load_file(os.path.join(folder, "adapter_model.safetensors"))


def torch_gradient(model, rows):
    """Loss and gradient of DPO by everything that is trained."""
    computed = steps.forward_rows(model, rows)
    steps.dpo_rows(computed)
    loss = sum(row["loss"] for row in computed) / len(rows)
    weights = steps.trained(model)
    return float(loss.detach()), dict(zip(weights, torch.autograd.grad(loss, list(weights.values()))))


def sensitivity(model, rows):
    """How far the gradient moves, relatively, when the weights change by half a unit of f32's last place."""
    _, exact = torch_gradient(model, rows)
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for _ in range(3):
        moved = copy.deepcopy(model)
        with torch.no_grad():
            for weight in moved.parameters():
                weight.mul_(1 + (torch.rand(weight.shape, generator=generator, dtype=weight.dtype) - 0.5) * 2**-23)
        worst = max(worst, steps.distance(exact, torch_gradient(moved, rows)[1]))
    return worst


def draw_adapter(check, name, base, family, rows, generator):
    """An adapter folder and what it is. A drawn adapter can make attention so sharp that rounding the weights to f32
    alone moves the gradient near the tolerance, in torch as in Sail: another is drawn, and said."""
    reference = steps.reference_rows(fm.load(base, torch.float64), rows)
    for _ in range(DRAWS):
        spec = drawn(family, generator)
        print(name, {key: value for key, value in spec.items() if key != "seed"}, flush=True)
        adapter = check.path("adapter")
        adapters.save_adapter(adapter, base, spec)
        moved = sensitivity(adapters.load(adapter, torch.float64, base), reference)
        if moved <= tools.UPDATE_TOLERANCE / 10:
            return adapter, spec
        print(f"{name}: rounding moves its gradient by {moved:.1e}: drawn again", flush=True)
    check.fail(f"{name}: no adapter in {DRAWS} draws whose gradient f32 resolves")
    return adapter, spec


def run_step(check, case, model, reference, rate, **sections):
    config = check.path(f"{case}.yaml")
    tools.write_run_file(config, model, reference, case, rate, **sections)
    return tools.train(check, config)


def check_update(check, name, before, after, gradient, rate):
    check.equal(f"{name} tensors", sorted(after), sorted(before))
    if sorted(after) != sorted(before):
        return
    expected = {key: -rate * value for key, value in gradient.items()}
    found = {key: after[key] - before[key] for key in before}
    check.close("update", f"{name} update", steps.distance(expected, found), 0.0, tools.UPDATE_TOLERANCE, 1.0)


def check_steps(check, name, base, adapter, rows):
    """One SGD step that goes on from an adapter: against its base, and against itself as it was."""
    model = adapters.load(adapter, torch.float64, base)
    size = tools.norm(steps.trained(model))
    for case, reference in [("off", base), ("frozen", None)]:
        frozen = fm.load(base, torch.float64) if reference else model
        rows = steps.reference_rows(frozen, rows)
        loss, gradient = torch_gradient(model, rows)
        rate = float(f"{UPDATE * size / tools.norm(gradient):.3g}")
        if not run_step(check, case, adapter, reference, rate, adapter={"dropout": 0}):
            continue
        result = check.path(case, "model")
        check_update(check, f"{name} {case}", tensors(adapter), tensors(result), gradient, rate)
        tools.check_metrics(check, case, 1, loss, gradient)
        # What Sail wrote, by peft.
        with torch.no_grad():
            check_score(check, f"{name} {case} result", result, logps(adapters.load(result, base=base), rows))


def check_new(check, name, base, spec, rows, is_fused):
    """A new adapter: B is zero, so a step moves B alone, by A; its result in peft and merged."""
    section = {"rank": spec["rank"], "alpha": spec["alpha"], "rslora": spec["rslora"], "dropout": 0}
    every = adapters.FUSED if is_fused else adapters.PROJECTIONS
    section["targets"] = "all" if sorted(spec["targets"]) == sorted(every) else spec["targets"]
    if not run_step(check, "fresh", base, None, 0.5, adapter=section):
        return
    result = check.path("fresh", "model")
    found = tensors(result)
    with open(os.path.join(result, "adapter_config.json"), encoding="utf-8") as file:
        config = json.load(file)
    check.equal(f"{name} targets", sorted(config["target_modules"]), sorted(spec["targets"]))
    check.equal(f"{name} r", config["r"], spec["rank"])
    check.equal(f"{name} lora_alpha", config["lora_alpha"], spec["alpha"])
    check.equal(f"{name} use_rslora", config.get("use_rslora", False), spec["rslora"])
    model = adapters.load(result, torch.float64, base)
    with torch.no_grad():
        for key, weight in steps.trained(model).items():
            if "lora_B" in key:
                weight.zero_()
    rows = steps.reference_rows(fm.load(base, torch.float64), rows)
    loss, gradient = torch_gradient(model, rows)
    before = {key: torch.zeros_like(value) if "lora_B" in key else value for key, value in found.items()}
    for key, value in found.items():
        if "lora_A" in key:
            check.equal(f"{name} {key} is random", bool(value.std() > 0), True)
    check_update(check, f"{name} new adapter", before, found, gradient, 0.5)
    tools.check_metrics(check, "fresh", 1, loss, gradient)
    with torch.no_grad():
        check_score(check, f"{name} new adapter", result, logps(adapters.load(result, base=base), rows))


def check_merge(check, name, base, adapter, rows):
    """`export --merge` of an adapter folder, by transformers."""
    if check.run("export", adapter, "--out", "merged", "--merge"):
        with torch.no_grad():
            expected = logps(adapters.load(adapter, base=base), rows)
            merged = logps(fm.load(check.path("merged")), rows)
        for index, (found, pair) in enumerate(zip(merged, expected)):
            check.close_list("merged", f"{name} merged row {index}", found, pair)
        check_score(check, f"{name} merged", check.path("merged"), merged)


def check_adapter(check, name, base, family, generator):
    """Everything about one base folder."""
    fm.write_jsonl(check.path("train.jsonl"), texts.PAIRS)
    rows = tools.encoded_pairs(base, texts.PAIRS)
    adapter, spec = draw_adapter(check, name, base, family, rows, generator)
    tokenizer = fm.load_tokenizer(base)
    _, ends = fm.end_tokens(base, tokenizer)
    with torch.no_grad():
        model = adapters.load(adapter)
        expected = logps(model, rows)
        check_score(check, name, adapter, expected)
        check_score(check, f"{name} --base", adapter, expected, base)
        check_greedy(check, name, adapter, model, tokenizer, ends)
    check_steps(check, name, base, adapter, rows)
    check_new(check, name, base, spec, rows, family == "phi3")
    check_merge(check, name, base, adapter, rows)
