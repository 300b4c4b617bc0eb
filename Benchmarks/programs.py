"""Starting other programs: one at a time, with what they say kept in a file and their last line as the reason of a failure."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


# Between two looks at what a program wrote. It has all CPUs: each look stops one of its threads, and the others wait for
# that one. Every 5 ms that was about 5 % of a training step.
LOOK_SECONDS = 0.2


class MeasurementError(Exception):
    """Why there is no figure, in a sentence."""


def reason(log: Path) -> str:
    """The last line, or the last one that is marked as an error where usage follows it."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    marked = [line for line in lines if line.startswith(("Error:", "sail:"))]
    return (marked or lines or ["it said nothing"])[-1][:300]


def ended(command: list[str], code: int, log: Path) -> MeasurementError:
    """The error of a program that ended before it should, or with another code than 0."""
    name = Path(command[0]).name
    if code < 0:
        return MeasurementError(f"{name} was ended by {signal.Signals(-code).name}")
    return MeasurementError(f"{name} ended with {code}: {reason(log)}")


def run(command: list[str], log: Path, environment: dict[str, str] | None = None) -> str:
    """Runs to the end; its standard output. Standard error goes to the file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as errors:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, check=False)
    if result.returncode != 0:
        raise ended(command, result.returncode, log)
    return result.stdout


def run_until(command: list[str], log: Path, is_enough: Callable[[], bool], environment: dict[str, str]) -> float:
    """Starts a program and ends it as soon as `is_enough`; the time.monotonic() of the start."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as output:
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            while not is_enough():
                if process.poll() is not None:
                    if is_enough():
                        break
                    raise ended(command, process.returncode, log)
                time.sleep(LOOK_SECONDS)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
    return start
