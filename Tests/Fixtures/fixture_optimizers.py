"""Ten steps of DPO with torch's optimizers, in f32 and in f64."""

import os

import torch

import fixture_models as fm
import fixture_steps as steps

STEPS = 10
DECAY, CLIP = 0.01, 1.0  # decay on every tensor, torch's default


def run(model, optimizer, rows):
    """Losses and norms before clipping on the same pairs."""
    losses, norms = [], []
    for _ in range(STEPS):
        loss, _ = steps.pair_loss(rows, steps.dpo_rows, {})(model)
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)))
        optimizer.step()
        losses.append(float(loss.detach()))
    return {"losses": losses, "grad_norms": norms}


def runs_of(out, start, reference, rows, make, **details):
    """The run in f32 and, as `float64`, in f64; `make` gives the optimizer of some weights."""
    results = []
    for dtype in [torch.float32, torch.float64]:
        model = fm.load(os.path.join(out, start), dtype)
        results.append(run(model, make(model.parameters()), rows))
    print(make.__name__, start, details, [f"{loss:.5f}" for loss in results[0]["losses"]])
    return {"model": start, "reference": reference, **details, **results[0], "float64": results[1]}


def write(out, optimizer, results, versions):
    optimizer |= {"weight_decay": DECAY, "clip": CLIP}
    fm.write_json(
        os.path.join(out, "steps", f"dpo_{optimizer['name']}.json"),
        {"versions": versions, "pairs": "../pairs.jsonl", "beta": steps.BETA, "optimizer": optimizer, "runs": results},
    )


def write_adamw(out, runs, versions):
    """`runs`: starting folder, reference folder, rows."""

    def adamw(weights):
        return torch.optim.AdamW(weights, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=DECAY, foreach=False)

    results = [runs_of(out, *each, adamw) for each in runs]
    optimizer = {"name": "adamw", "learning_rate": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8}
    write(out, optimizer, results, versions)


def write_rmsprop(out, runs, versions):
    """The first run without momentum, the second with; the decay is added to the gradient after clipping."""
    results = []
    for each, momentum in zip(runs, [0.0, 0.9]):

        def rmsprop(weights, momentum=momentum):
            return torch.optim.RMSprop(
                weights, lr=1e-4, alpha=0.99, eps=1e-8, weight_decay=DECAY, momentum=momentum, foreach=False
            )

        results.append(runs_of(out, *each, rmsprop, momentum=momentum))
    write(out, {"name": "rmsprop", "learning_rate": 1e-4, "alpha": 0.99, "eps": 1e-8}, results, versions)
