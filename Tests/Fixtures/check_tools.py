"""What the checks of a `sail` binary share: running it, comparing numbers, the run file, torch's step."""

import json
import os
import subprocess

import fixture_models as fm  # first: it fixes the CPU paths before torch is loaded
import fixture_objective as fo
import fixture_steps as steps
import torch

TOLERANCE = 2e-5
UPDATE_TOLERANCE = 1e-4
PAIRS = 8


class Check:
    """Runs `sail` in one folder, counts what was compared and prints what differs."""

    def __init__(self, sail, folder):
        self.sail, self.folder = os.path.abspath(sail), folder
        self.compared, self.failures, self.worst = 0, 0, {}

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def run(self, *arguments):
        result = subprocess.run([self.sail, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=900)
        if result.returncode != 0:
            self.fail(f"sail {' '.join(arguments)}: exit {result.returncode}\n{result.stderr[-2000:]}")
        return result.returncode == 0

    def lines(self, name, count=None):
        # Not splitlines(): a JSON string may hold U+2028.
        with open(self.path(name), encoding="utf-8", newline="\n") as file:
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

    def true(self, what, holds):
        self.equal(what, bool(holds), True)

    def close(self, kind, what, found, expected, tolerance=TOLERANCE, floor=0.0):
        """Relative; a value smaller than the floor counts as the floor."""
        self.compared += 1
        if found is None:
            found = float("nan")
        difference = abs(found - expected) / max(abs(expected), floor)
        self.worst[kind] = max(self.worst.get(kind, 0.0), difference)
        if not difference <= tolerance:
            self.fail(f"{what}: expected {expected!r}, found {found!r}, relative {difference:.2e}")

    def close_list(self, kind, what, found, expected, tolerance=TOLERANCE, floor=0.0):
        if not isinstance(found, list) or len(found) != len(expected):
            self.fail(f"{what}: expected {expected!r}, found {found!r}")
            return
        for index, (first, second) in enumerate(zip(found, expected)):
            self.close(kind, f"{what} {index}", first, second, tolerance, floor)

    def summary(self, name):
        """Prints and gives the number of failures; nothing compared is one."""
        if self.compared == 0:
            self.fail(f"{name}: nothing compared")
        worst = ", ".join(f"{kind} {value:.1e}" for kind, value in self.worst.items())
        print(f"{name}: {self.compared} compared, {self.failures} failed; worst relative: {worst}", flush=True)
        return self.failures


def write_run_file(path, model, reference, output, rate, **sections):
    """A run of plain SGD on `train.jsonl` in the file's order; `sections` replace whole sections; no reference: None."""
    values = {
        "model": model,
        "method": "dpo",
        "reference": reference,
        "data": {"train": "train.jsonl", "shuffle": False, "template": "plain"},
        "batch": {"pairs": PAIRS, "groups": 4},
        "optimizer": {"name": "sgd", "learning_rate": rate, "schedule": "constant", "weight_decay": 0, "clip": 0},
        "precision": "f32",
        "steps": 1,
        "checkpoint": {"every": 1, "keep": 2},
        "seed": 3,
        "output": output,
        **sections,
    }
    with open(path, "w", encoding="utf-8") as file:
        # A line of JSON is YAML.
        file.writelines(f"{key}: {json.dumps(value)}\n" for key, value in values.items() if value is not None)


def train(check, config):
    return check.run("train", "--config", config, "--resume", "never", "--progress", "plain")


def objective_section(objective):
    """`objective` of the run file; T1's estimator has its place under `sail`."""
    section = {"loss": objective.loss_kind}
    for key in ["beta", "label_smoothing", "link", "revkl", "revkl_on"]:
        section[key] = getattr(objective, key)
    return section


def encoded_pairs(folder, pairs):
    """Prompt ids, and both responses' ids in the stored order: chosen, rejected."""
    tokenizer = fm.load_tokenizer(folder)
    end, _ = fm.end_tokens(folder, tokenizer)
    rows = [fm.encode_pair(tokenizer, pair, end) for pair in pairs]
    return [
        {"prompt_ids": row["prompt_ids"], "response_ids": [row["chosen_ids"], row["rejected_ids"]]} for row in rows
    ]


def torch_gradient(model, reference, rows, objective):
    """Loss and gradient of a step, and its rows with what came out; rows that are not there count as 0."""
    computed = steps.forward_rows(model, rows)
    fo.set_losses(objective, model, reference, computed)
    loss = sum(row["loss"] for row in computed) / PAIRS
    names = [name for name, _ in model.named_parameters()]
    gradient = torch.autograd.grad(loss, list(model.parameters()))
    return float(loss.detach()), dict(zip(names, gradient)), computed


def norm(tensors):
    return sum(float(value.detach().double().square().sum()) for value in tensors.values()) ** 0.5


def state(folder):
    return {key: value.detach().clone() for key, value in fm.load(folder).named_parameters()}


def check_update(check, name, before, after, gradient, factor):
    """after − before of two folders' weights against −factor · gradient."""
    before, after = state(before), state(after)
    check.equal(f"{name} tensors", sorted(after), sorted(before))
    expected = {key: -factor * value for key, value in gradient.items()}
    found = {key: after[key] - before[key] for key in before}
    check.close("update", f"{name} update", steps.distance(expected, found), 0.0, UPDATE_TOLERANCE, 1.0)


def check_metrics(check, name, number, loss, gradient, floor=0.0):
    """Loss (None: not compared) and gradient norm of a step."""
    lines = [line for line in check.lines(os.path.join(name, "metrics.jsonl")) if line.get("step") == number]
    check.equal(f"{name} step {number} lines of metrics", len(lines), 1)
    for line in lines[:1]:
        if loss is not None:
            check.close("loss", f"{name} step {number} loss", line.get("loss"), loss, UPDATE_TOLERANCE, floor)
        found = line.get("grad_norm")
        check.close("grad_norm", f"{name} step {number} grad_norm", found, norm(gradient), UPDATE_TOLERANCE)
