"""The loss of a row under every setting of SAIL, in torch; `detach()` is sg(). For the fixtures and the check."""

import dataclasses

import torch
import torch.nn.functional as F

import fixture_models as fm

TIE = 1e-6  # below this |u| the likelier order is rounding noise
LARGEST_WEIGHT = 10.0


@dataclasses.dataclass(frozen=True)
class Objective:
    """`objective` of a run file, and how T1 is estimated; the defaults are the run file's."""

    beta: float = 0.1
    loss_kind: str = "sigmoid"
    link: str = "logistic"
    label_smoothing: float = 0.0
    revkl: float = 0.0
    revkl_on: str = "dataset"
    t1_estimator: str = "score"
    released_scale: float = 1.0

    def changed(self):
        """β, and what is not the default."""
        default = Objective()
        values = dataclasses.asdict(self).items()
        return {key: value for key, value in values if key == "beta" or value != getattr(default, key)}


def log_link(objective, u):
    """log G(u)."""
    return F.logsigmoid(u) if objective.link == "logistic" else torch.special.log_ndtr(u)


def entropy(objective, u):
    """H = −q log q − (1 − q) log(1 − q), q = G(u)."""
    first, second = log_link(objective, u), log_link(objective, -u)
    return -first.exp() * first - second.exp() * second


def h_of(row, counts=(1, 1)):
    """Difference of the log-ratios of a row's two responses, in the stored order."""
    first, second = row["lp"]
    return (first - row["lr"][0]) / counts[0] - (second - row["lr"][1]) / counts[1]


def ordered_loss(objective, row, sign):
    """ℓ(±): the loss if the first (+1) or the second (−1) response is the better one."""
    if objective.loss_kind == "sigmoid":
        return -log_link(objective, sign * row["u"])
    if objective.loss_kind == "hinge":
        return torch.relu(1 - sign * row["u"])
    if objective.loss_kind == "ipo":
        return (sign * h_of(row) - 1 / (2 * objective.beta)).square()
    if objective.loss_kind == "ipo-mean":
        counts = [len(ids) for ids in row["response_ids"]]
        return (sign * h_of(row, counts) - 1 / (2 * objective.beta)).square()
    raise ValueError(objective.loss_kind)


def label_loss(objective, row):
    """T2 and T3 of a row by its label, and V.

    A label is the probability that the first response is the better one, or a self-label: `expected`, `argmax`, or
    `sample`, drawn as `chosen`.
    """
    label, preference, u = row["label"], row.get("preference", 0.0), row["u"]
    if label == "expected":
        value = -entropy(objective, u)
        return -preference * value, value
    if label == "sample":
        value = log_link(objective, u if row["chosen"] == 0 else -u)
        return -value - preference / 2 * value.square(), value
    if label == "argmax":
        value = log_link(objective, u.abs())
        return (-value.detach() if abs(float(u.detach())) < TIE else -value), value
    p = objective.label_smoothing + (1 - 2 * objective.label_smoothing) * label
    # A product with 0 would still carry what is not finite.
    parts = [share * ordered_loss(objective, row, sign) for share, sign in [(p, 1), (1 - p, -1)] if share > 0]
    return sum(parts), -sum(parts)


def response_loss(objective, row):
    """T1 as a surrogate: its derivative is what counts."""
    c, value = row.get("response", 0.0), row["V"]
    if objective.t1_estimator == "score":
        return -c * (value - row.get("baseline", 0.0)) * (row["lp"][0] + row["lp"][1])
    divisors = [lp.detach() if abs(float(lp.detach())) >= 1 else -1.0 for lp in row["lp"]]
    parts = [value / divisor * lp for divisor, lp in zip(divisors, row["lp"])]
    return -c * objective.released_scale * (parts[0] + parts[1])


def set_loss(objective, row):
    """Sets u, V and the loss of a row that has lp, lr and a label, before the division by the planned rows.

    May have: `response` and `preference` coefficients, `baseline`, `generation_logps` (then the row gets its
    importance weight), `revkl` (K, on offline rows).
    """
    row["u"] = objective.beta * h_of(row)
    loss, value = label_loss(objective, row)
    row["V"] = value.detach()
    loss = loss + response_loss(objective, row)
    if "generation_logps" in row:
        exponent = sum(lp.detach() - lq for lp, lq in zip(row["lp"], row["generation_logps"]))
        row["weight"] = min(LARGEST_WEIGHT, float(exponent.exp()))
        loss = row["weight"] * loss
    if "revkl" in row:
        loss = loss + objective.revkl * row["revkl"]
    row["loss"] = loss


def set_losses(objective, model, reference, rows):
    """Sets the losses of a step's rows; offline rows get K where RevKL is on, of `reference_ids` if it wants those."""
    for row in rows:
        if objective.revkl and row["route"] == "offline":
            sequences = row["response_ids"] if objective.revkl_on == "dataset" else [row["reference_ids"]]
            row["revkl"] = revkl(model, reference, row["prompt_ids"], sequences)
        set_loss(objective, row)


def leave_one_out(values):
    """b_i = (Σ_j V_j − V_i)/(n − 1)."""
    total = sum(values)
    return [(total - value) / (len(values) - 1) for value in values]


def revkl(model, reference, prompt_ids, sequences):
    """K: mean over the sequences of Σ_t KL(π_ref ‖ π_θ) over the vocabulary, at every token's place."""
    total = 0.0
    for ids in sequences:
        with torch.no_grad():
            wanted = fm.log_rows(reference, prompt_ids, ids)
        total = total + (wanted.exp() * (wanted - fm.log_rows(model, prompt_ids, ids))).sum()
    return total / len(sequences)
