"""SAIL's losses and derivatives by u, at 60 digits: the formulas and mpmath's numeric derivative, nothing else."""

import mpmath
from mpmath import mp, mpf

mp.dps = 60


def link(name, u):
    """G(u), by the tail that keeps its digits."""
    u = mpf(u)
    if name == "logistic":
        return 1 / (1 + mpmath.exp(-u))
    return mpmath.erfc(-u / mpmath.sqrt(2)) / 2


def log_link(name, u):
    return mpmath.log(link(name, u))


def entropy(name, u):
    q, p = link(name, u), link(name, -u)
    return -q * mpmath.log(q) - p * mpmath.log(p)


def loss(case, u):
    """The loss of one row with c_resp = 0, as a function of u of the stored order."""
    kind, name, c = case["labels"], case["link"], mpf(case["preference_coefficient"])
    if kind == "given":  # label: the stored order is chosen, rejected; smoothing ε
        smoothing = mpf(case["label_smoothing"])
        value = (1 - smoothing) * log_link(name, u) + smoothing * log_link(name, -u)
        return -value
    if kind == "sample":  # drawn label 0: first is preferred; 1: second
        value = log_link(name, u if case["label"] == 0 else -u)
        return -value - c / 2 * value**2
    if kind == "expected":
        return c * entropy(name, u)
    if kind == "argmax":
        return -log_link(name, abs(u))
    if kind == "soft":
        p = mpf(case["probability"])
        return -(p * log_link(name, u) + (1 - p) * log_link(name, -u))
    raise ValueError(kind)


def value_of(case, u):
    """V, the value that T1 and its baseline use."""
    if case["labels"] == "expected":
        return -entropy(case["link"], u)
    if case["labels"] == "sample":
        return log_link(case["link"], u if case["label"] == 0 else -u)
    return -loss(case, u)


def number(value):
    """Nearest double; what is smaller than any double is 0."""
    return float(mpmath.nstr(value, 25))


def cases():
    def case(labels, name, u, c=0.0, **more):
        return {"labels": labels, "link": name, "u": u, "preference_coefficient": c, **more}

    for name in ["logistic", "probit"]:
        for u in [-30.0, -3.0, -0.5, 0.0, 1.0, 2.5, 30.0]:
            yield case("given", name, u, label_smoothing=0.0)
        for u in [-2.0, 1.0]:
            yield case("given", name, u, label_smoothing=0.1)
        for u, c in [(-6.0, 0.2), (-1.0, 0.2), (0.0, 0.2), (1.0, 0.2), (1.0, 1.0), (4.0, 0.5)]:
            for label in [0, 1]:
                yield case("sample", name, u, c, label=label)
        for u, c in [(-8.0, 0.2), (-1.0, 0.2), (0.0, 0.2), (0.001, 1.0), (1.0, 0.2), (3.0, 0.7), (20.0, 0.2)]:
            yield case("expected", name, u, c)
        for u in [-25.0, -1.0, -0.01, 0.01, 1.0, 5.0]:
            yield case("argmax", name, u)
        for u, p in [(-1.5, 0.25), (0.0, 0.5), (1.0, 0.9), (7.0, 0.6)]:
            yield case("soft", name, u, probability=p)
    for u in [-700.0, 700.0]:
        yield case("given", "logistic", u, label_smoothing=0.0)
    for u in [-1000.0, -37.5, 37.5]:
        yield case("given", "probit", u, label_smoothing=0.0)


def derivative(case, u):
    """mpmath's numeric derivative with digits to spare."""
    with mpmath.workdps(900 if abs(u) > 50 else 400):
        return mpmath.diff(lambda x: loss(case, x), mpf(u), h=mpf(10) ** -120)


def table():
    """The table at u = 1."""
    rows = []
    for name in ["logistic", "probit"]:
        given = {"labels": "given", "link": name, "preference_coefficient": 0.0, "label_smoothing": 0.0}
        sample = {"labels": "sample", "link": name, "preference_coefficient": 0.2, "label": 0}
        expected = {"labels": "expected", "link": name, "preference_coefficient": 0.2}
        rows.append(
            {
                "link": name,
                "u": 1.0,
                "F": number(log_link(name, 1)),
                "derivative_t2": number(derivative(given, 1.0)),
                "derivative_t2_t3": number(derivative(sample, 1.0)),
                "derivative_expected": number(derivative(expected, 1.0)),
            }
        )
    return rows


def values():
    rows = []
    for case in cases():
        u = case["u"]
        with mpmath.workdps(900 if abs(u) > 50 else 400):
            rows.append(
                {
                    **case,
                    "loss": number(loss(case, mpf(u))),
                    "derivative_by_u": number(derivative(case, u)),
                    "V": number(value_of(case, mpf(u))),
                }
            )
    return {"mpmath": mpmath.__version__, "table_at_u_1": table(), "cases": rows}
