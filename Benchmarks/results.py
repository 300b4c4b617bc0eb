"""Figures of one invocation and how they are shown: a table on the screen, Markdown and JSON."""

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields

from programs import MeasurementError


@dataclass
class Result:
    """One piece of work: Sail's figures and, where it was run beside it, a peer's."""

    work: str
    precision: str
    unit: str  # "s", "tokens/s", "GB": for the first and the last less is better
    sail: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    peer_name: str = ""  # with its version; why there is no figure if there is none
    notes: list[str] = field(default_factory=list)  # what else was measured, and failures

    @property
    def ratio(self) -> float | None:
        """How many times better Sail's median is than the peer's."""
        if not self.sail or not self.peer:
            return None
        sail, peer = statistics.median(self.sail), statistics.median(self.peer)
        if sail <= 0 or peer <= 0:
            return None
        return sail / peer if self.unit.endswith("/s") else peer / sail


@dataclass(frozen=True)
class PeerFigures:
    """What a peer's run gave: a list for each result that it stands beside."""

    name: str  # with versions
    values: list[list[float]]


def beside(results: list[Result], measure: Callable[[], PeerFigures]) -> None:
    """Adds the figures of a peer's run to results; where it fails, the reason."""
    try:
        measured = measure()
    except MeasurementError as error:
        for result in results:
            result.peer_name = f"failed: {error}"
        return
    for result, values in zip(results, measured.values, strict=True):
        result.peer += values
        result.peer_name = measured.name


def figure(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(values: list[float], unit: str) -> str:
    """Median, with the smallest and the largest where there are several."""
    if not values:
        return "–"
    text = f"{figure(statistics.median(values))} {unit}"
    return text if len(values) == 1 else f"{text} [{figure(min(values))}, {figure(max(values))}]"


HEADER = ["work", "precision", "Sail", "peer", "ratio", "notes"]


def cells(result: Result) -> list[str]:
    peer = f"{spread(result.peer, result.unit)} ({result.peer_name})" if result.peer else result.peer_name or "–"
    ratio = "–" if result.ratio is None else f"{result.ratio:.2f} ×"
    return [result.work, result.precision, spread(result.sail, result.unit), peer, ratio, "; ".join(result.notes)]


def markdown_table(results: list[Result]) -> str:
    rows = [HEADER, ["---"] * len(HEADER), *map(cells, results)]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)


def plain_table(results: list[Result]) -> str:
    rows = [HEADER, *map(cells, results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def as_json(facts: dict[str, str], results: list[Result]) -> dict:
    """An invocation: what was run and where, and its results."""
    return {"facts": facts, "results": [{**asdict(result), "ratio": result.ratio} for result in results]}


def markdown_file(runs: list[dict]) -> str:
    """A results file: a section an invocation."""
    sections = ["# Benchmarks\n\nMedians, with [smallest, largest]; `Benchmarks/README.md` says what is measured.\n"]
    for run in runs:
        facts = dict(run["facts"])
        title = f"## {facts.pop('started')}, commit {facts.pop('commit')}\n"
        lines = "".join(f"- {name}: {value}\n" for name, value in facts.items())
        known = [field.name for field in fields(Result)]
        results = [Result(**{name: result[name] for name in known}) for result in run["results"]]
        sections.append(title + "\n" + lines + "\n" + markdown_table(results))
    return "\n".join(sections)
