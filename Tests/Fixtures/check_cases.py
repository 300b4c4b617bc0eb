"""Runs with online rows, as settings."""

import dataclasses

from fixture_objective import Objective


@dataclasses.dataclass(frozen=True)
class Run:
    """A case; the sections are the run file's."""

    sail: dict
    objective: Objective = Objective()
    temperature: float = 1.0

    def coefficients(self, route):
        section = self.sail.get(route, {})
        return {key: section.get(f"{key}_coefficient", 0.0) for key in ("response", "preference")}

    def labels(self, route):
        return self.sail[route]["labels"]

    @property
    def baseline(self):
        return self.sail.get("baseline", "leave-one-out")

    @property
    def is_weighted(self):
        return self.sail.get("importance_weights", False)


def dpr(labels="argmax", response=0.3, fraction=1):
    return {"dpr": {"fraction": fraction, "response_coefficient": response, "labels": labels}}


def own(route, labels="expected", fraction=1):
    """A route of self-labels, dpp or ddp."""
    section = {"fraction": fraction, "preference_coefficient": 0 if labels == "argmax" else 0.2, "labels": labels}
    return {route: section | ({"response_coefficient": 0.3} if route == "dpp" else {})}


MIXTURE = {**own("ddp", fraction=0.25), **own("dpp", fraction=0.25), **dpr(fraction=0.25)}
SAMPLED_MIXTURE = {
    **own("ddp", "sample", 0.25), **own("dpp", "sample", 0.25), **dpr("sample", fraction=0.25),
}
RELEASED = Objective(t1_estimator="released", released_scale=2.0)
ON_REFERENCE = Objective(revkl=0.5, revkl_on="reference")

RUNS = {
    "dpr-argmax": Run(dpr()),
    "dpr-soft": Run(dpr("soft")),
    "dpr-sample": Run(dpr("sample")),
    "dpr-smoothing": Run(dpr(), Objective(label_smoothing=0.1)),
    "dpr-probit": Run(dpr("soft"), Objective(link="probit", beta=0.06)),
    "dpr-ipo": Run(dpr(response=0), Objective(loss_kind="ipo")),
    "dpr-hinge": Run(dpr(response=0), Objective(loss_kind="hinge", beta=0.15)),
    "dpp-expected": Run(own("dpp")),
    "dpp-sample": Run(own("dpp", "sample")),
    "dpp-argmax": Run(own("dpp", "argmax")),
    "dpp-probit": Run(own("dpp"), Objective(link="probit", beta=0.06)),
    "ddp-sample": Run(own("ddp", "sample")),
    "mixture": Run(MIXTURE),
    "mixture-sample": Run(SAMPLED_MIXTURE),
    "mixture-smoothing": Run(MIXTURE, Objective(label_smoothing=0.1)),
    "mixture-revkl": Run(MIXTURE, Objective(revkl=0.5)),
    "no-baseline": Run({**MIXTURE, "baseline": "none"}),
    "previous-baseline": Run({**MIXTURE, "baseline": "previous"}),
    "previous-baseline-dpr": Run({**dpr(), "baseline": "previous"}),
    "released-dpr": Run(dpr(), RELEASED),
    "released-dpp": Run(own("dpp"), RELEASED),
    "released-dpp-sample": Run(own("dpp", "sample"), RELEASED),
    "released-mixture": Run(MIXTURE, RELEASED),
    "weights-dpr": Run({**dpr(), "importance_weights": True}, temperature=0.9),
    "weights-mixture": Run({**MIXTURE, "importance_weights": True}, temperature=0.9),
    "weights-at-1": Run({**dpr(), "importance_weights": True}),
    "revkl-reference": Run({}, ON_REFERENCE),
    "revkl-reference-mixture": Run(MIXTURE, ON_REFERENCE),
}
