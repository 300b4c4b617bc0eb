"""Sail's benchmarks: see Benchmarks/README.md. `scripts/bench.sh` builds Sail and starts this."""

import argparse
import datetime
import json
import signal
import sys
from pathlib import Path

import machine
from model_folder import make_model_folder, read_config
from parts import PARTS, Bench
from peers import find_peers
from programs import MeasurementError
from results import Result, as_json, markdown_file, plain_table
from sail_runs import Sail
from workload import SMALL, Workload

ROOT = Path(__file__).resolve().parent.parent
QWEN = ROOT / "Tests/Fixtures/published/Qwen1.5-0.5B/config.json"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench.sh", description="Measures Sail, and with --peer TRL and llama.cpp beside it."
    )
    parser.add_argument("--quick", action="store_true", help="a tiny model and few tokens: does everything run?")
    parser.add_argument(
        "--only", metavar="PART[,PART]", default=",".join(PARTS), help=f"of {', '.join(PARTS)}; all without it"
    )
    parser.add_argument("--precision", default="f32,bf16", help="f32, bf16 or both, f32,bf16; both without it")
    parser.add_argument("--peer", action="store_true", help="run the peers that SAIL_BENCH_… name")
    parser.add_argument("--rounds", type=int, default=2, help="times that each measurement alternates with its peer's")
    parser.add_argument("--steps", type=int, default=2, help="measured training steps a round, after a first one")
    parser.add_argument("--ranks", type=int, default=1, help="ranks of training and generation")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a run file's key, for all training"
    )
    parser.add_argument("--model-config", type=Path, default=QWEN, help="config.json of a Qwen2 model to measure")
    parser.add_argument("--sail", type=Path, default=ROOT / ".build/release/sail", help="the binary")
    parser.add_argument("--work", type=Path, default=ROOT / "runs/bench", help="folder for models, data and logs")
    parser.add_argument("--out", type=Path, help="Markdown file to add to, and .json beside it")
    found = parser.parse_args()
    known = {"--only": (found.only, PARTS), "--precision": (found.precision, ["f32", "bf16"])}
    for option, (text, choices) in known.items():
        for name in text.split(","):
            if name not in choices:
                parser.error(f"{option}: {name!r} is none of {', '.join(choices)}")
    for option in ["rounds", "steps", "ranks"]:
        if getattr(found, option) < 1:
            parser.error(f"--{option} must be at least 1")
    if not found.sail.is_file():
        parser.error(f"there is no {found.sail}: swift build -c release, or --sail PATH")
    return found


def prepare(options: argparse.Namespace) -> Bench:
    work = options.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    config = read_config(options.model_config, options.quick)
    model = work / "models" / ("tiny" if options.quick else options.model_config.absolute().parent.name)
    make_model_folder(config, model)
    sail = Sail(options.sail.absolute(), options.ranks, work, options.set)
    trl, llama = find_peers(work, machine.cpu_count()) if options.peer else (None, None)
    size = SMALL if options.quick else Workload()
    return Bench(sail, trl, llama, model, config, size, options.rounds, options.steps, work)


def measure(bench: Bench, part: str, precision: str) -> tuple[list[Result], bool]:
    """A part's results, and whether it has any."""
    print(f"bench: {part} {precision}", file=sys.stderr, flush=True)
    try:
        return PARTS[part](bench, precision), True
    except (MeasurementError, OSError, KeyError, ValueError) as error:
        print(f"bench: {part} {precision} failed: {error}", file=sys.stderr, flush=True)
        return [Result(part, precision, "", notes=[f"failed: {error}"])], False


def save(path: Path, facts: dict[str, str], results: list[Result]) -> None:
    """Puts this invocation last in the JSON file beside `path`, and writes `path` from all that are in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = path.with_suffix(".json")
    runs = json.loads(numbers.read_text(encoding="utf-8")) if numbers.is_file() else []
    runs = [run for run in runs if run["facts"]["started"] != facts["started"]] + [as_json(facts, results)]
    # Files are named as from the repository's folder, wherever that is.
    text = json.dumps(runs, indent=1, ensure_ascii=False).replace(f"{ROOT}/", "")
    numbers.write_text(text + "\n", encoding="utf-8")
    path.write_text(markdown_file(json.loads(text)), encoding="utf-8")


def main() -> int:
    # As an exception it ends what was started, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    options = arguments()
    out = options.out
    if out is None and not options.quick:
        out = ROOT / f"Benchmarks/results/{datetime.date.today()}-{machine.slug()}.md"
    facts = machine.facts(ROOT, ["scripts/bench.sh", *sys.argv[1:]])
    bench = prepare(options)
    facts["versions"] = bench.sail.version()
    results: list[Result] = []
    failures = 0
    for part in options.only.split(","):
        for precision in options.precision.split(","):
            found, is_measured = measure(bench, part, precision)
            results += found
            failures += not is_measured
            if out:
                save(out, facts, results)
    print("\n".join(f"{name}: {value}" for name, value in facts.items()) + "\n\n" + plain_table(results))
    if out:
        print(f"\nin {out} and {out.with_suffix('.json').name}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
