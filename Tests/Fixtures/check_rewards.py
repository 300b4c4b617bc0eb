"""Reward models of a `sail` binary against transformers and torch, on folders made afresh."""

import check_tools as tools
import fixture_models as fm  # first: it fixes the CPU paths before torch is loaded
import fixture_rewards as rewards
import fixture_steps as steps
import fixture_texts as texts
import make_reward_fixtures as fixtures
import torch

UPDATE = 0.01  # the update's size, as a share of the weights'
TOLERANCE = 1e-5


def drawn(name, generator):
    """A reward model with other weights, sizes and head counts."""
    spec = {**rewards.REWARDS[name], "seed": int(generator.integers(1 << 30))}
    spec["key_value_heads"] = int(generator.choice([1, 2, 3]))
    spec["heads"] = spec["key_value_heads"] * int(generator.integers(1, 4))
    spec["hidden"] = spec["heads"] * int(generator.choice([4, 6, 8]))
    spec["feed_forward"] = int(generator.integers(3, 12)) * 4
    return spec


def check_scores(check, name, folder):
    rows = fixtures.rows()
    fm.write_jsonl(check.path("rows.jsonl"), rows)
    if not check.run("reward", "--model", folder, "--data", "rows.jsonl", "--out", "scores.jsonl"):
        return
    tokenizer, model = fm.load_tokenizer(folder), rewards.load(folder)
    for index, (row, found) in enumerate(zip(rows, check.lines("scores.jsonl", len(rows)))):
        ids = tokenizer(row["prompt"] + row["completion"])["input_ids"]
        expected = float(rewards.score(model, ids))
        check.close("score", f"{name} row {index}", found.get("score"), expected, TOLERANCE, 1.0)


def check_steps(check, name, folder):
    """One SGD step without and with margins; what was trained is read by transformers."""
    margined = [{**row, "margin": margin} for row, margin in zip(texts.PAIRS, fixtures.MARGINS)]
    tokenizer = fm.load_tokenizer(folder)
    end, _ = fm.end_tokens(folder, tokenizer)
    for case, data in [("plain", texts.PAIRS), ("margin", margined)]:
        fm.write_jsonl(check.path("train.jsonl"), data)
        encoded = [{**fm.encode_pair(tokenizer, row, end), "margin": row.get("margin", 0.0)} for row in data]
        model = rewards.load(folder, torch.float64)
        loss, details = fixtures.preference_loss(encoded)(model)
        weights = steps.trained(model)
        gradient = dict(zip(weights, torch.autograd.grad(loss, list(weights.values()))))
        rate = float(f"{UPDATE * tools.norm(weights) / tools.norm(gradient):.3g}")
        tools.write_run_file(check.path(f"{case}.yaml"), folder, None, case, rate, method="reward")
        if not tools.train(check, f"{case}.yaml"):
            continue
        after = steps.trained(rewards.load(check.path(case, "model")))
        check.equal(f"{name} {case} tensors", sorted(after), sorted(weights))
        expected = {key: -rate * value for key, value in gradient.items()}
        found = {key: after[key].detach() - weights[key].detach() for key in weights}
        difference = steps.distance(expected, found)
        check.close("update", f"{name} {case} update", difference, 0.0, tools.UPDATE_TOLERANCE, 1.0)
        tools.check_metrics(check, case, 1, float(loss.detach()), gradient)
        lines = check.lines(f"{case}/metrics.jsonl", 1)
        check.close("accuracy", f"{name} {case} accuracy", lines[0].get("rewards/accuracies"), details["accuracy"])
        with torch.no_grad():
            check_scores(check, f"{name} {case} result", check.path(case, "model"))


def check_reward(check, name, folder, spec, tokenizer):
    rewards.save_reward(folder, spec, tokenizer)
    with torch.no_grad():
        check_scores(check, name, folder)
    if "head" not in spec and "pad" not in spec:
        check_steps(check, name, folder)
