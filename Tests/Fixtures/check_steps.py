"""One SGD step of `sail train` on the data's pairs, for every loss and label that needs no generation."""

import os

import check_tools as tools
import fixture_models as fm
import fixture_steps as steps
import fixture_texts as texts
import torch
from fixture_objective import Objective

UPDATE = 0.01  # the update's size, as a share of the weights'
# Run file's sections, and what torch's rows have beside the ids.
DPO = {"method": "dpo"}, {"route": "offline", "label": 1}
EXPECTED = (
    {"method": "sail", "sail": {"ddp": {"fraction": 1, "labels": "expected", "preference_coefficient": 0.2}}},
    {"route": "ddp", "label": "expected", "preference": 0.2},
)
ARGMAX = (
    {"method": "sail", "sail": {"ddp": {"fraction": 1, "labels": "argmax", "preference_coefficient": 0}}},
    {"route": "ddp", "label": "argmax"},
)
CASES = {
    "dpo": (Objective(), *DPO),
    "ipo": (Objective(loss_kind="ipo"), *DPO),
    "ipo-mean": (Objective(loss_kind="ipo-mean"), *DPO),
    "ipo-smoothing": (Objective(loss_kind="ipo", label_smoothing=0.1), *DPO),
    "hinge": (Objective(loss_kind="hinge", beta=0.15), *DPO),
    "hinge-smoothing": (Objective(loss_kind="hinge", beta=0.15, label_smoothing=0.1), *DPO),
    "smoothing": (Objective(label_smoothing=0.1), *DPO),
    "probit": (Objective(link="probit"), *DPO),
    "probit-smoothing": (Objective(link="probit", label_smoothing=0.1), *DPO),
    "revkl": (Objective(revkl=0.5), *DPO),
    "ddp-expected": (Objective(), *EXPECTED),
    "ddp-probit": (Objective(link="probit"), *EXPECTED),
    "ddp-smoothing": (Objective(label_smoothing=0.1), *EXPECTED),  # self-labels are not smoothed
    "ddp-argmax": (Objective(), *ARGMAX),
}


def check_steps(check, name, folder, reference, cases):
    """Whole updates within 1e-4 of torch's autograd in f64; the first case is exported as well. No cases: all."""
    fm.write_jsonl(check.path("train.jsonl"), texts.PAIRS)
    model, frozen = (fm.load(path, torch.float64) for path in (folder, reference))
    pairs = steps.reference_rows(frozen, tools.encoded_pairs(folder, texts.PAIRS))
    size = tools.norm(dict(model.named_parameters()))
    for case, (objective, sections, row) in CASES.items():
        if cases and case not in cases:
            continue
        loss, gradient, _ = tools.torch_gradient(model, frozen, [{**pair, **row} for pair in pairs], objective)
        rate = float(f"{UPDATE * size / tools.norm(gradient):.3g}")
        config = check.path(f"{case}.yaml")
        sections = {"objective": tools.objective_section(objective), **sections}
        tools.write_run_file(config, folder, reference, case, rate, **sections)
        if not tools.train(check, config):
            continue
        result = check.path(case, "model")
        tools.check_update(check, f"{name} {case}", folder, result, gradient, rate)
        tools.check_metrics(check, case, 1, loss, gradient)
        if case == "dpo":
            checkpoint = os.path.join(case, "checkpoints", "step-00000001")
            if check.run("inspect", "--verify", checkpoint) and check.run("export", checkpoint, "--out", "exported"):
                exported = check.path("exported")
                tools.check_update(check, f"{name} exported", folder, exported, gradient, rate)
