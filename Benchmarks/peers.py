"""The programs that Sail is compared with, found by environment variables, and their figures.

SAIL_BENCH_PYTHON        a Python that has torch, transformers and trl (also what converts for llama.cpp, with gguf)
SAIL_BENCH_LLAMA_DIR     folder of llama.cpp's llama-bench and llama-batched-bench
SAIL_BENCH_LLAMA_SOURCE  llama.cpp's source folder, for convert_hf_to_gguf.py
"""

import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from programs import MeasurementError, run
from results import PeerFigures

# The converter knows a tokenizer by the hash of a text's ids, from a table of published ones. That one question is
# answered here; the answer names the split pattern, which is Qwen2's.
CONVERT = """
import runpy, sys
converter = sys.argv[1]
folder = converter.rsplit("/", 1)[0]
sys.path[:0] = [folder, folder + "/gguf-py"]
import conversion.base
conversion.base.TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
sys.argv = sys.argv[1:]
runpy.run_path(converter, run_name="__main__")
"""


@dataclass(frozen=True)
class Llama:
    """Where llama.cpp's programs are, and the models that were converted for them."""

    programs: Path
    source: Path | None
    python: Path | None
    work: Path
    threads: int

    def name(self) -> str:
        """With the commit of its source."""
        log = self.work / "llama-version.log"
        said = run([str(self.programs / "llama-bench"), "--version"], log) + log.read_text(encoding="utf-8")
        match = re.search(r"commit (\w+)", said)
        return f"llama.cpp {match[1]}" if match else "llama.cpp"

    def model(self, folder: Path, precision: str) -> Path:
        """The GGUF file of a model folder, converted at its first use."""
        path = folder.with_name(f"{folder.name}-{precision}.gguf")
        if path.is_file():
            return path
        if self.source is None or self.python is None:
            raise MeasurementError("no GGUF file: set SAIL_BENCH_LLAMA_SOURCE and SAIL_BENCH_PYTHON")
        unfinished = path.with_suffix(".unfinished")
        converter = str(self.source / "convert_hf_to_gguf.py")
        options = [str(folder), "--outtype", precision, "--outfile", str(unfinished)]
        run([str(self.python), "-c", CONVERT, converter, *options], self.work / "convert.log", peer_environment())
        return unfinished.rename(path)

    def prompt_speed(self, folder: Path, precision: str, token_count: int) -> PeerFigures:
        """Tokens per second of a prompt, as llama-bench measures it after a warm-up."""
        model = str(self.model(folder, precision))
        options = ["-p", str(token_count), "-n", "0", "-r", "1", "-t", str(self.threads), "-o", "json"]
        text = run([str(self.programs / "llama-bench"), "-m", model, *options], self.work / "llama-bench.log")
        return PeerFigures(self.name(), [[json.loads(text)[0]["avg_ts"]]])

    def decode_speeds(self, folder: Path, precision: str, prompt: int, new: int, rows: tuple[int, ...]) -> PeerFigures:
        """New tokens per second with so many rows at once. The vocabulary's logits are computed, nothing is drawn."""
        model = str(self.model(folder, precision))
        # Once more at the end: the program may lose its last line when it exits.
        counts = ",".join(map(str, [*rows, rows[0]]))
        options = ["-npp", str(prompt), "-ntg", str(new), "-npl", counts, "-c", str(max(rows) * (prompt + new))]
        options += ["-b", "2048", "-ub", "512", "-t", str(self.threads), "--output-format", "jsonl"]
        log = self.work / "llama-batched-bench.log"
        text = run([str(self.programs / "llama-batched-bench"), "-m", model, *options], log)
        speeds: dict[int, float] = {}
        for line in text.splitlines():
            if line.startswith("{"):
                fields = json.loads(line)
                speeds.setdefault(fields["pl"], fields["speed_tg"])
        if set(speeds) != set(rows):
            raise MeasurementError(f"llama-batched-bench told speeds of {sorted(speeds)} rows, not of all of {rows}")
        return PeerFigures(self.name(), [[speeds[count]] for count in rows])


@dataclass(frozen=True)
class Trl:
    python: Path
    work: Path

    def steps(
        self, trainer: str, model: Path, data: Path, precision: str, step_count: int, new_tokens: int = 0
    ) -> PeerFigures:
        """Seconds of steps after a first one, and peak memory; on the same folder and file as Sail."""
        out = self.work / f"trl-{trainer}-{precision}.json"
        script = str(Path(__file__).resolve().parent / "trl_steps.py")
        options = ["--trainer", trainer, "--model", str(model), "--data", str(data), "--precision", precision]
        options += ["--steps", str(step_count), "--new-tokens", str(new_tokens), "--out", str(out)]
        log = self.work / f"trl-{trainer}-{precision}.log"
        run([str(self.python), script, *options], log, peer_environment())
        result = json.loads(out.read_text(encoding="utf-8"))
        name = f"TRL {result['versions']['trl']}, torch {result['versions']['torch']}"
        return PeerFigures(name, [result["seconds"], [result["memory_gb"]]])


def peer_environment() -> dict[str, str]:
    """Nothing is fetched: model and data are local."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def named_path(variable: str) -> Path | None:
    """The path in an environment variable, nil without one; a path that is not there is an error."""
    text = os.environ.get(variable)
    if not text:
        return None
    # Not resolve(): a virtual environment's Python is a link.
    path = Path(text).absolute()
    if not path.exists():
        raise SystemExit(f"bench: {variable} names {path}, which is not there")
    return path


def find_peers(work: Path, threads: int) -> tuple[Trl | None, Llama | None]:
    """TRL and llama.cpp where the variables name them; says which are not."""
    python = named_path("SAIL_BENCH_PYTHON")
    programs = named_path("SAIL_BENCH_LLAMA_DIR")
    source = named_path("SAIL_BENCH_LLAMA_SOURCE")
    for peer, variable, path in [("TRL", "PYTHON", python), ("llama.cpp", "LLAMA_DIR", programs)]:
        if path is None:
            print(f"bench: no {peer}: SAIL_BENCH_{variable} is not set", file=sys.stderr)
    trl = Trl(python, work) if python else None
    return trl, Llama(programs, source, python, work, threads) if programs else None
