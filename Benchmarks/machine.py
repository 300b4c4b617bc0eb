"""What a figure depends on: the machine, the commit, the versions, the environment."""

import datetime
import os
import re
import subprocess
import time
from pathlib import Path

SETTINGS = ("ONEDNN_", "DNNL_", "OMP_", "MKL_", "OPENBLAS_", "GGML_")


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown CPU"


def cpu_count() -> int:
    return len(os.sched_getaffinity(0))


def busy_cpus(seconds: float = 1) -> float:
    """CPUs that other programs keep busy."""

    def busy() -> int:
        # user, nice, system, idle, iowait, interrupts, soft interrupts, stolen
        times = list(map(int, Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()[1:9]))
        return sum(times) - times[3] - times[4]

    before = busy()
    time.sleep(seconds)
    return (busy() - before) / os.sysconf("SC_CLK_TCK") / seconds


def memory_gb() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


def commit(folder: Path) -> str:
    """The short hash, with a mark where files differ from it."""

    def git(*arguments: str) -> str:
        result = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
        return result.stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "no commit") + (
        " with changes" if git("status", "--porcelain") else ""
    )


def slug() -> str:
    """The CPU's name for a file name."""
    return re.sub(r"[^a-z0-9]+", "-", cpu_name().lower()).strip("-")


def facts(root: Path, command: list[str]) -> dict[str, str]:
    """Facts of an invocation, in the order in which they are shown."""
    busy = busy_cpus()
    variables = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(SETTINGS)]
    return {
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "commit": commit(root),
        "machine": f"{cpu_name()}, {cpu_count()} CPUs, {memory_gb():.0f} GB",
        "busy before": f"{busy:.1f} CPUs" + (": speeds are too low" if busy > 0.2 else ""),
        "command": " ".join(command),
        "environment": " ".join(variables) or "–",
    }
