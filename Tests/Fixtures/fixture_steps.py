"""One training step each, by torch.autograd on the loss formulas of SAIL; `detach()` is sg()."""

import os

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import fixture_models as fm

BETA = 0.1


def h_of(row):
    """Difference of log-ratios of a row's two responses, in the stored order."""
    first, second = row["lp"]
    return (first - row["lr"][0]) - (second - row["lr"][1])


def entropy(u):
    """H = −q log q − (1 − q) log(1 − q), q = σ(u)."""
    return -torch.sigmoid(u) * F.logsigmoid(u) - torch.sigmoid(-u) * F.logsigmoid(-u)


def dpo_rows(rows):
    for row in rows:
        row["u"] = BETA * h_of(row)
        row["loss"] = -F.logsigmoid(row["u"])


def ddp_expected_rows(rows, preference=0.2):
    for row in rows:
        row["u"] = BETA * h_of(row)
        row["loss"] = preference * entropy(row["u"])


def ddp_argmax_rows(rows):
    for row in rows:
        row["u"] = BETA * h_of(row)
        assert abs(float(row["u"].detach())) > 1e-3
        row["loss"] = -F.logsigmoid(row["u"].abs())


def leave_one_out(rows):
    """b_i = (Σ_j V_j − V_i)/(n − 1); V does not depend on the weights here."""
    total = sum(row["V"] for row in rows)
    for row in rows:
        row["baseline"] = (total - row["V"]) / (len(rows) - 1)


def dpp_rows(rows, preference=0.2, response=0.3):
    for row in rows:
        row["u"] = BETA * h_of(row)
        row["V"] = -entropy(row["u"]).detach()
    leave_one_out(rows)
    for row in rows:
        value = entropy(row["u"])
        score = (value + row["baseline"]).detach()
        row["loss"] = preference * value + response * score * (row["lp"][0] + row["lp"][1])


def dpr_rows(rows, response=0.3):
    for row in rows:
        sign = 1 if row["chosen"] == 0 else -1
        row["u"] = BETA * h_of(row)
        row["V"] = F.logsigmoid(sign * row["u"]).detach()
    leave_one_out(rows)
    for row in rows:
        sign = 1 if row["chosen"] == 0 else -1
        value = F.logsigmoid(sign * row["u"])
        score = (value - row["baseline"]).detach()
        row["loss"] = -value - response * score * (row["lp"][0] + row["lp"][1])


def forward_rows(model, rows):
    """Adds `lp` to rows of prompt_ids, response_ids and reference log-probabilities `lr`."""
    return [
        {**row, "lp": [fm.logp(model, row["prompt_ids"], ids) for ids in row["response_ids"]]} for row in rows
    ]


def reference_rows(reference, rows):
    with torch.no_grad():
        for row in rows:
            row["lr"] = [float(fm.logp(reference, row["prompt_ids"], ids)) for ids in row["response_ids"]]
    return rows


def plain(row):
    """What a test needs of a row: exact inputs and every value on the way."""
    numbers = {key: value for key, value in row.items() if key not in ("lp", "lr")}
    numbers["logps"] = [float(value.detach()) for value in row["lp"]]
    numbers["ref_logps"] = row["lr"]
    derivatives = torch.autograd.grad(row["loss"], row["lp"], retain_graph=True)
    numbers["derivative_by_logps"] = [float(value) for value in derivatives]
    for key, value in numbers.items():
        if isinstance(value, torch.Tensor):
            numbers[key] = float(value.detach())
    return numbers


def trained(model):
    """What a step changes; the names are those of the folder's file (peft adds the adapter's)."""
    return {
        name.replace(".default.", "."): weight for name, weight in model.named_parameters() if weight.requires_grad
    }


def update_of(folder, loss_of, rate, dtype, load=fm.load):
    """The step's loss, row values, gradient norm, and after − before of every trained tensor."""
    model = load(folder, dtype)
    weights = trained(model)
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    loss, details = loss_of(model)
    loss.backward()
    norm = torch.stack([weight.grad.double().norm() for weight in weights.values()]).norm()
    torch.optim.SGD(weights.values(), lr=rate).step()
    update = {name: (weights[name].detach() - before[name]).contiguous() for name in sorted(weights)}
    gradient = {name: weight.grad.double() for name, weight in weights.items()}
    size = torch.stack([value.double().norm() for value in before.values()]).norm()
    return float(loss.detach()), details, float(norm), update, gradient, float(size)


def rate_of(folder, loss_of, load=fm.load):
    """A learning rate that makes the update about a hundredth of the weights."""
    _, _, norm, _, _, size = update_of(folder, loss_of, 0.0, torch.float32, load)
    return float(f"{0.01 * size / norm:.1g}")


def distance(first, second, scale=1.0):
    """Relative difference of two whole updates."""
    difference = sum(float((first[name].double() - scale * second[name].double()).square().sum()) for name in first)
    return (difference / sum(float(value.double().square().sum()) for value in first.values())) ** 0.5


def write_step(out, name, folder, models_folder, loss_of, settings, rate, load=fm.load):
    """NAME_step.safetensors and NAME_step.json; the f32 update is checked against one of an f64 forward."""
    path = os.path.join(models_folder, folder)
    loss, details, norm, update, gradient, size = update_of(path, loss_of, rate, torch.float32, load)
    exact_loss, _, exact_norm, _, exact_gradient, _ = update_of(path, loss_of, rate, torch.float64, load)
    save_file(update, os.path.join(out, f"{name}_step.safetensors"), metadata={"format": "pt"})
    os.chmod(os.path.join(out, f"{name}_step.safetensors"), 0o644)
    deviation = distance(update, {key: -rate * value for key, value in exact_gradient.items()})
    assert deviation < 5e-6, (name, deviation)
    update_norm = sum(float(value.double().square().sum()) for value in update.values()) ** 0.5
    norms = {key: float(value.double().norm()) for key, value in update.items()}
    fm.write_json(
        os.path.join(out, f"{name}_step.json"),
        {
            "model": folder,
            **settings,
            "optimizer": {"name": "sgd", "learning_rate": rate, "momentum": 0, "weight_decay": 0, "clip": 0},
            "loss": loss,
            "grad_norm": norm,
            "update_norm": update_norm,
            "update_norm_to_weight_norm": update_norm / size,
            "float64": {"loss": exact_loss, "grad_norm": exact_norm, "relative_difference_of_update": deviation},
            "update_norms": norms,
            **details,
        },
    )
    print(f"{name}: loss {loss:.6f} grad {norm:.4f} update/weights {update_norm / size:.2e} f64 {deviation:.1e}")


def pair_loss(rows, rule, keywords):
    """Mean over the rows, and their values."""

    def loss_of(model):
        computed = forward_rows(model, rows)
        rule(computed, **keywords)
        loss = torch.stack([row["loss"] for row in computed]).mean()
        values = [plain(row) for row in computed]
        details = {"rows": values}
        if rule is dpo_rows:
            chosen = [BETA * (row["logps"][0] - row["ref_logps"][0]) for row in values]
            rejected = [BETA * (row["logps"][1] - row["ref_logps"][1]) for row in values]
            details = {
                "rewards/chosen": sum(chosen) / len(rows),
                "rewards/rejected": sum(rejected) / len(rows),
                "rewards/margins": (sum(chosen) - sum(rejected)) / len(rows),
                "rewards/accuracies": sum(a > b for a, b in zip(chosen, rejected)) / len(rows),
                **details,
            }
        return loss, details

    return loss_of


def sft_loss(rows):
    """Mean negative log-likelihood over all completion tokens, end tokens included."""

    def loss_of(model):
        sums = [fm.logp(model, row["prompt_ids"], row["completion_ids"]) for row in rows]
        count = sum(len(row["completion_ids"]) for row in rows)
        values = [{**row, "logp": float(value.detach())} for row, value in zip(rows, sums)]
        return -torch.stack(sums).sum() / count, {"completion_tokens": count, "rows": values}

    return loss_of


def sampled_responses(model, prompt_ids, end, generator, lengths):
    """Drawn at temperature 1; the first response gets the end token, the second is cut without one."""
    responses = []
    for position, length in enumerate(lengths):
        ids = []
        with torch.no_grad():
            while len(ids) < length:
                logits = model(torch.tensor([prompt_ids + ids]), use_cache=False).logits[0, -1]
                probabilities = logits.double().softmax(-1).numpy()
                probabilities[end] = 0
                ids.append(int(generator.choice(len(probabilities), p=probabilities / probabilities.sum())))
        responses.append(ids + [end] if position == 0 else ids)
    return responses
