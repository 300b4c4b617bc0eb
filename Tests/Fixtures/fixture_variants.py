"""One training step for every other loss, link and estimator."""

import os

import numpy
import torch

import fixture_models as fm
import fixture_objective as fo
import fixture_steps as steps
from fixture_objective import Objective

# Learning rates make an update of about a hundredth or less of the weights.
OFFLINE = {
    "ipo": (Objective(loss_kind="ipo"), 2e-4),
    "ipo_mean": (Objective(loss_kind="ipo-mean"), 0.02),
    "hinge": (Objective(loss_kind="hinge", beta=0.15), 0.05),
    "smoothing": (Objective(label_smoothing=0.1), 0.2),
    "hinge_smoothing": (Objective(loss_kind="hinge", beta=0.15, label_smoothing=0.1), 0.05),
    "probit": (Objective(link="probit"), 0.05),
    "revkl": (Objective(revkl=0.5), 0.04),
}
TEMPERATURE = 0.9


def rewards(objective, rows):
    """TRL's names; the first response is the chosen one."""
    chosen = [objective.beta * (row["logps"][0] - row["ref_logps"][0]) for row in rows]
    rejected = [objective.beta * (row["logps"][1] - row["ref_logps"][1]) for row in rows]
    return {
        "rewards/chosen": sum(chosen) / len(rows),
        "rewards/rejected": sum(rejected) / len(rows),
        "rewards/margins": (sum(chosen) - sum(rejected)) / len(rows),
        "rewards/accuracies": sum(a > b for a, b in zip(chosen, rejected)) / len(rows),
    }


def variant_loss(rows, objective, reference):
    """Mean over the rows; online rows get their leave-one-out baseline, whose V does not depend on the weights."""

    def loss_of(model):
        computed = steps.forward_rows(model, rows)
        online = [row for row in computed if row["route"] in ("dpp", "dpr")]
        if online and objective.t1_estimator == "score":
            for row in online:
                fo.set_loss(objective, row)
            for row, baseline in zip(online, fo.leave_one_out([row["V"] for row in online])):
                row["baseline"] = baseline
        fo.set_losses(objective, model, reference, computed)
        values = [steps.plain(row) for row in computed]
        details = rewards(objective, values) if not online else {}
        return torch.stack([row["loss"] for row in computed]).mean(), {**details, "rows": values}

    return loss_of


class VariantWriter:
    """Writes steps that start from one folder."""

    def __init__(self, models_folder, folder, reference_name, versions):
        self.models_folder, self.folder, self.reference_name = models_folder, folder, reference_name
        self.model = fm.load(os.path.join(models_folder, folder))
        self.reference = fm.load(os.path.join(models_folder, reference_name))
        self.versions = versions

    def write(self, name, rows, objective, rate, **more):
        settings = {"versions": self.versions, "method": name, "reference": self.reference_name}
        settings |= {**objective.changed(), **more}
        for key in ["response", "preference"]:
            if any(key in row for row in rows):
                settings[f"{key}_coefficient"] = rows[0][key]
        loss_of = variant_loss(rows, objective, self.reference)
        out = os.path.join(self.models_folder, "steps")
        steps.write_step(out, name, self.folder, self.models_folder, loss_of, settings, rate)

    def write_pairs(self, pairs):
        """Rows of the data set: `label` 1, the first is the chosen one."""
        rows = [{"route": "offline", **row, "label": 1} for row in pairs]
        for name, (objective, rate) in OFFLINE.items():
            self.write(name, rows, objective, rate)
        rows = [{"route": "ddp", **row, "label": "expected", "preference": 0.2} for row in pairs]
        self.write("ddp_probit_expected", rows, Objective(link="probit"), 1.0)

    def write_given(self, given, end):
        """Rows that hold two responses as if generated."""
        dpr = [{"route": "dpr", **row, "response": 0.3} for row in given]
        labelled = [{**row, "chosen": chosen, "label": 1 - chosen} for row, chosen in zip(dpr, [0, 1, 1, 0])]
        released = Objective(t1_estimator="released", released_scale=2.0)
        self.write("dpr_released", labelled, released, 0.1)
        dpp = [{"route": "dpp", **row, "label": "expected", "response": 0.3, "preference": 0.2} for row in given]
        self.write("dpp_released", dpp, Objective(t1_estimator="released"), 1.0)
        weighted = [{**row, "generation_logps": self.tempered(row)} for row in labelled]
        self.write("dpr_weighted", weighted, Objective(), 0.02, temperature=TEMPERATURE)
        scores = [[1.5, -0.25], [-2.0, 0.5], [0.75, 0.75], [3.0, 2.5]]  # the third is a tie
        soft = [
            {**row, "scores": pair, "label": 1 / (1 + float(numpy.exp(pair[1] - pair[0])))}
            for row, pair in zip(dpr, scores)
        ]
        self.write("dpr_soft", soft, Objective(), 0.04)
        offline = [{"route": "offline", **row, "chosen": 0, "label": 1} for row in given]
        generator = numpy.random.Generator(numpy.random.PCG64(78))
        for index, row in enumerate(offline):
            lengths = [(8,), (0, 11), (0, 5), (13,)][index]  # the first of a pair gets the end token
            drawn = steps.sampled_responses(self.reference, row["prompt_ids"], end, generator, lengths)
            row["reference_ids"] = drawn[-1]
        self.write("revkl_reference", offline, Objective(revkl=0.5, revkl_on="reference"), 0.05)

    def tempered(self, row):
        with torch.no_grad():
            return [
                float(fm.logp(self.model, row["prompt_ids"], ids, TEMPERATURE)) for ids in row["response_ids"]
            ]
