"""Running `sail`: the steps of a training run, the speed of generation, the ceilings of the machine."""

import json
import os
import re
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from programs import MeasurementError, run, run_until

# What `sail generate` says of its speed: "prompt: 64 tokens in 0.5 s (…); decode: 32 tokens in 1.2 s (…)".
SPEED = re.compile(r"(?P<phase>prompt|decode): (?P<tokens>\d+) tokens in (?P<seconds>[\d.e+-]+) s")


@dataclass(frozen=True)
class Steps:
    """Measured steps of a run, the first left out: it fills caches and touches memory for the first time."""

    seconds: list[float]
    # Seconds a step by phase: name after `time/` → one value a step.
    phases: dict[str, list[float]]
    start_seconds: float  # from the start of the process to the start of the first step
    memory_gb: float  # the largest of all steps


@dataclass(frozen=True)
class Speed:
    """Tokens per second of a generation."""

    prompt: float
    decode: float
    how: str


@dataclass(frozen=True)
class Sail:
    binary: Path
    ranks: int
    work: Path  # folder for what the runs write
    overrides: list[str] = field(default_factory=list)  # `--set` of every training run

    def command(self, *arguments: str) -> list[str]:
        launcher = ["mpirun", "--oversubscribe", "-n", str(self.ranks)] if self.ranks > 1 else []
        return [*launcher, str(self.binary), *arguments]

    def environment(self) -> dict[str, str]:
        """Open MPI refuses to start as root without two variables."""
        root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"} if os.geteuid() == 0 else {}
        return {**os.environ, **root}

    def version(self) -> str:
        return run([str(self.binary), "--version"], self.work / "version.log").strip()

    def ceilings(self) -> dict:
        """What `sail doctor` measures of this node with all its threads: products and memory accesses."""
        report = self.work / "doctor.json"
        run([str(self.binary), "doctor", "--json", str(report)], self.work / "doctor.log", self.environment())
        return json.loads(report.read_text(encoding="utf-8"))["nodes"][0]["ceilings"]

    def train(self, name: str, settings: dict, step_count: int) -> Steps:
        """Runs `step_count` steps after a first one, and ends the run before it saves."""
        folder = self.work / name
        command = self._training(name, settings, folder)
        metrics = folder / "metrics.jsonl"
        seen: list[float] = []  # when each step's line was there

        def is_enough() -> bool:
            count = len(step_lines(metrics))
            if count > len(seen):
                written = time.monotonic() - (time.time() - metrics.stat().st_mtime)
                seen.extend(written for _ in range(len(seen), count))
            return count > step_count

        start = run_until(command, self.work / f"{name}.log", is_enough, self.environment())
        lines = step_lines(metrics)[: step_count + 1]
        shutil.rmtree(folder, ignore_errors=True)
        phases = [key.removeprefix("time/") for key in lines[0] if key.startswith("time/") and key != "time/step"]
        return Steps(
            seconds=[line["time/step"] for line in lines[1:]],
            phases={phase: [line[f"time/{phase}"] for line in lines[1:]] for phase in phases},
            start_seconds=seen[0] - lines[0]["time/step"] - start,
            memory_gb=max(line["memory_gb"] for line in lines),
        )

    def fill(self, name: str, settings: dict, step_count: int) -> None:
        """Runs the steps that `train` runs and lets the run end, which is when a reference cache is written."""
        folder = self.work / name
        command = self._training(name, {**settings, "steps": step_count + 1}, folder)
        run(command, self.work / f"{name}.log", self.environment())
        shutil.rmtree(folder, ignore_errors=True)

    def _training(self, name: str, settings: dict, folder: Path) -> list[str]:
        """Writes a run file of that name; the command that runs it into an empty folder."""
        shutil.rmtree(folder, ignore_errors=True)
        values = {
            "batch": {"pairs": 4, "groups": self.ranks},
            "optimizer": {"name": "adamw", "learning_rate": 1e-6},
            "steps": 1000,
            "checkpoint": {"every": 1000, "keep": 1},
            "samples": {"every": 1000},
            "output": str(folder),
            **settings,
        }
        run_file = self.work / f"{name}.yaml"
        # A line of JSON is YAML.
        run_file.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items()), encoding="utf-8")
        overrides = [part for override in self.overrides for part in ("--set", override)]
        return self.command("train", "--config", str(run_file), "--progress", "plain", *overrides)

    def generate(self, name: str, model: Path, prompts: Path, new_tokens: int, precision: str) -> Speed:
        """Speed of one generation of a completion for every prompt.

        Taken from the line that `sail generate` writes about it; without one, from the difference of this run and one
        of a single new token, and the prompt's speed is not known.
        """
        started = time.monotonic()
        said = self._generate(name, model, prompts, new_tokens, precision)
        seconds = time.monotonic() - started
        speeds = reported_speeds(said)
        if "prompt" in speeds:
            return Speed(speeds["prompt"], speeds.get("decode", 0), "reported")
        started = time.monotonic()
        self._generate(name, model, prompts, 1, precision)
        seconds -= time.monotonic() - started
        if seconds < 0.1:
            raise MeasurementError("this sail does not report the speed of generation, and it ends too soon to time it")
        rows = len(prompts.read_text(encoding="utf-8").splitlines())
        return Speed(0, rows * (new_tokens - 1) / seconds, "difference of two runs")

    def _generate(self, name: str, model: Path, prompts: Path, new_tokens: int, precision: str) -> str:
        out = self.work / f"{name}.jsonl"
        log = self.work / f"{name}.log"
        options = ["--data", str(prompts), "--out", str(out), "--max-new-tokens", str(new_tokens)]
        precision_option = [] if precision == "f32" else ["--precision", precision]
        run(
            self.command("generate", "--model", str(model), *options, *precision_option),
            log,
            self.environment(),
        )
        rows = [json.loads(line)["token_ids"] for line in out.read_text(encoding="utf-8").splitlines()]
        found, expected = sum(len(ids) for row in rows for ids in row), len(rows) * new_tokens
        # A random model draws an end token now and then.
        if found < 0.95 * expected:
            raise MeasurementError(f"{found} new tokens instead of {expected}: too many completions ended early")
        return log.read_text(encoding="utf-8", errors="replace")


def reported_speeds(said: str) -> dict[str, float]:
    """Tokens per second of the phases, "prompt" and "decode", that took time."""
    matches = [(match["phase"], int(match["tokens"]), float(match["seconds"])) for match in SPEED.finditer(said)]
    return {phase: tokens / seconds for phase, tokens, seconds in matches if seconds > 0}


def step_lines(path: Path) -> list[dict]:
    """The lines of steps that are there in whole; evaluations have lines too."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [line for line in map(json.loads, lines) if "time/step" in line]
