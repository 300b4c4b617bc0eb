"""The measurements, one function a part. With a peer, its runs alternate with Sail's: A B A B."""

import statistics
from dataclasses import dataclass
from pathlib import Path

import workload as work_of
from kernels import gemm_ceiling, kernel_results
from peers import Llama, Trl
from programs import MeasurementError
from results import Result, beside, figure
from sail_runs import Sail, Steps
from workload import Workload


@dataclass(frozen=True)
class Bench:
    """What every part needs."""

    sail: Sail
    trl: Trl | None
    llama: Llama | None
    model: Path
    config: dict
    workload: Workload
    rounds: int
    steps: int
    work: Path

    def flops_note(self, seconds: float, ceilings: list[dict], precision: str, is_cached: bool) -> str:
        """Model FLOPs a second, and their share of the GEMM ceiling, the median of its measurements."""
        speed = self.workload.training_flops(self.config, is_cached) / seconds / 1e9
        note = f"{speed:.0f} model GFLOP/s"
        for rate, name in (("gigaflops", "best"), ("typical_gigaflops", "typical")):
            found = [value for value in (gemm_ceiling(each, precision, rate) for each in ceilings) if value]
            if found:
                ceiling = statistics.median(found)
                note += f", utilisation {speed / ceiling:.0%} of the {name} {ceiling:.0f}"
        return note

    def pairs_settings(self, precision: str) -> dict:
        pairs = work_of.write_pairs(self.work / "pairs.jsonl", self.workload)
        return {
            "model": str(self.model),
            "method": "dpo",
            "precision": precision,
            "data": {"train": str(pairs), "shuffle": False, "template": "plain", "cache": "off"},
        }


def split(runs: list[Steps]) -> str:
    """Medians of the phases that take time."""
    values = {phase: [second for run in runs for second in run.phases[phase]] for phase in runs[0].phases}
    parts = {phase: statistics.median(seconds) for phase, seconds in values.items()}
    return "split " + ", ".join(f"{phase} {figure(value)} s" for phase, value in parts.items() if value >= 0.001)


def all_seconds(runs: list[Steps]) -> list[float]:
    return [second for run in runs for second in run.seconds]


def kernels(bench: Bench, precision: str) -> list[Result]:
    return kernel_results(bench.sail.ceilings(), precision)


def prompt(bench: Bench, precision: str) -> list[Result]:
    """One prompt, computed whole; the first token follows from it."""
    count = bench.workload.prompt
    prompts = work_of.write_prompts(bench.work / "prompt.jsonl", 1, count)
    result = Result(f"prompt of {count} tokens", precision, "tokens/s")
    for _ in range(max(3, bench.rounds)):
        speed = bench.sail.generate("prompt", bench.model, prompts, 1, precision)
        if speed.how != "reported":
            raise MeasurementError("this sail does not report the speed of generation")
        result.sail.append(speed.prompt)
        if llama := bench.llama:
            beside([result], lambda: llama.prompt_speed(bench.model, precision, count))
    return [result]


def decode(bench: Bench, precision: str) -> list[Result]:
    """Rows at once; one token more than is counted, because the first comes from the prompt."""
    size = bench.workload
    sizes = (size.decode_prompt, size.decode_new, size.decode_rows)
    results = {
        rows: Result(f"decoding, {rows} rows, {size.decode_prompt} + {size.decode_new}", precision, "tokens/s")
        for rows in size.decode_rows
    }
    for _ in range(bench.rounds):
        for rows, result in results.items():
            prompts = work_of.write_prompts(bench.work / f"prompts-{rows}.jsonl", rows, size.decode_prompt)
            speed = bench.sail.generate(f"decode-{rows}", bench.model, prompts, size.decode_new + 1, precision)
            result.sail.append(speed.decode)
            result.notes = [] if speed.how == "reported" else [f"by the {speed.how}"]
        if llama := bench.llama:
            beside(list(results.values()), lambda: llama.decode_speeds(bench.model, precision, *sizes))
    return list(results.values())


def dpo(bench: Bench, precision: str) -> list[Result]:
    """DPO with its reference computed in each step, and with a cached one; TRL beside them."""
    size = bench.workload
    lengths = f"{size.step_pairs} pairs of {size.step_prompt} + 2 × {size.step_response} tokens"
    settings = bench.pairs_settings(precision)
    pairs = Path(settings["data"]["train"])
    # Filled by a first run of the same steps, which ends as a run does.
    cached_settings = {**settings, "reference_cache": str(bench.work / f"reference-cache-{precision}")}
    plain = Result(f"DPO step, {lengths}", precision, "s")
    cached = Result("DPO step, cached reference", precision, "s")
    memory = Result("DPO, peak memory", precision, "GB")
    ceilings: list[dict] = []
    runs: list[Steps] = []
    cached_runs: list[Steps] = []
    for number in range(bench.rounds):
        ceilings.append(bench.sail.ceilings())
        runs.append(bench.sail.train("dpo", settings, bench.steps))
        try:
            if number == 0:
                bench.sail.fill("dpo-fill", cached_settings, bench.steps)
            if not cached.notes:
                cached_runs.append(bench.sail.train("dpo-cached", cached_settings, bench.steps))
                if max(cached_runs[-1].phases.get("reference", [0])) > 0.01 * min(cached_runs[-1].seconds):
                    raise MeasurementError("the reference was computed although it should be cached")
        except MeasurementError as error:
            cached.notes.append(f"failed: {error}")
        if trl := bench.trl:
            beside([plain, memory], lambda: trl.steps("dpo", bench.model, pairs, precision, bench.steps))
    # TRL computes its reference in each step.
    cached.peer, cached.peer_name = plain.peer, plain.peer_name
    plain.sail, cached.sail = all_seconds(runs), all_seconds(cached_runs)
    memory.sail = [run.memory_gb for run in runs]
    plain.notes = [bench.flops_note(statistics.median(plain.sail), ceilings, precision, False), split(runs)]
    if cached_runs:
        speed = bench.flops_note(statistics.median(cached.sail), ceilings, precision, True)
        cached.notes = [speed, split(cached_runs)]
    start = Result("start to first step", precision, "s", sail=[run.start_seconds for run in runs])
    return [plain, cached, memory, start]


def routes(bench: Bench, precision: str) -> list[Result]:
    """SAIL's routes, every row of a step on the route, against DPO's step in the same rounds."""
    settings = bench.pairs_settings(precision)
    generation = {"max_new_tokens": bench.workload.step_response}
    methods = {
        "DPO": {},
        "DDP": {"method": "sail", "sail": {"ddp": {"fraction": 1}}},
        "DPP": {"method": "sail", "sail": {"dpp": {"fraction": 1}}, "generation": generation},
        "DPR": {
            "method": "sail",
            "sail": {"dpr": {"fraction": 1}},
            "generation": generation,
            "oracle": {"rule": "shorter"},
        },
    }
    runs: dict[str, list[Steps]] = {name: [] for name in methods}
    for number in range(bench.rounds):
        # There and back, so that a machine that slows down or speeds up favours none.
        for name, changes in list(methods.items())[:: 1 if number % 2 == 0 else -1]:
            runs[name].append(bench.sail.train(f"route-{name}", {**settings, **changes}, bench.steps))
    results = []
    for name, measured in runs.items():
        seconds = all_seconds(measured)
        generated = [second for run in measured for second in run.phases.get("generate", [])]
        notes = [] if name == "DPO" else [over_dpo(measured, runs["DPO"])]
        if any(generated):
            notes.append(f"generation {sum(generated) / sum(seconds):.0%} of the step")
        results.append(Result(f"{name} step", precision, "s", sail=seconds, notes=[*notes, split(measured)]))
    return results


def over_dpo(measured: list[Steps], dpo_steps: list[Steps]) -> str:
    """What a route's step takes beside generation, more than DPO's of the same round: the median of the rounds."""

    def rest(run: Steps) -> float:
        generated = run.phases.get("generate", [0] * len(run.seconds))
        return statistics.median(step - part for step, part in zip(run.seconds, generated))

    more = sorted(rest(run) / rest(base) - 1 for run, base in zip(measured, dpo_steps))
    spread = f" ({more[0]:+.1%} to {more[-1]:+.1%} in {len(more)} rounds)" if len(more) > 1 else ""
    return f"without generation {statistics.median(more):+.1%} over DPO of the same round{spread}"


def online(bench: Bench, precision: str) -> list[Result]:
    """Two completions a prompt, the shorter one preferred, a DPO update: OAIF's step, T1 off as in TRL."""
    size = bench.workload
    sizes = (bench.steps, size.online_new)
    work = f"{size.step_pairs} prompts of {size.online_prompt} × 2 × {size.online_new} new tokens"
    prompts = work_of.write_prompts(bench.work / "online.jsonl", work_of.ROWS_IN_FILE, size.online_prompt)
    settings = {
        **bench.pairs_settings(precision),
        "method": "sail",
        "sail": {"dpr": {"fraction": 1, "response_coefficient": 0}},
        "generation": {"max_new_tokens": size.online_new},
        "oracle": {"rule": "shorter"},
    }
    settings["data"] = {**settings["data"], "train": str(prompts)}
    result = Result(f"online step, {work}", precision, "s")
    memory = Result("online, peak memory", precision, "GB")
    runs: list[Steps] = []
    for _ in range(bench.rounds):
        runs.append(bench.sail.train("online", settings, bench.steps))
        if trl := bench.trl:
            beside([result, memory], lambda: trl.steps("online", bench.model, prompts, precision, *sizes))
    result.sail = all_seconds(runs)
    memory.sail = [run.memory_gb for run in runs]
    result.notes = [split(runs)]
    return [result, memory]


PARTS = {
    "kernels": kernels,
    "prompt": prompt,
    "decode": decode,
    "dpo": dpo,
    "routes": routes,
    "online": online,
}
