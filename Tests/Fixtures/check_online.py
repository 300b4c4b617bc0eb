"""Online steps of `sail train`, recomputed by torch from the run's samples.jsonl.

Two steps a run on the same eight prompts; the second starts from the checkpoint of the first. Checked are every row
(the responses belong to its prompt, log-probabilities, label, u, F, baseline, weight) and then the whole update, with
nothing but token ids, labels and draws taken from the file.
"""

import dataclasses
import math
import os

import check_tools as tools
import fixture_models as fm
import fixture_objective as fo
import fixture_texts as texts
import torch
from check_cases import RUNS

STEPS = 2
LIMIT = 12
UPDATE = 0.01  # the update's size, as a share of the weights'
CLIP = 1e-3  # below every gradient norm here: so the update's size is known before the run
LOG_TOLERANCE = 1e-4
WEIGHT_TOLERANCE = 2e-4  # f32 leaves about 3e-5 in a sum of log-probabilities
EXACT = 1e-9
KEYS = ["step", "row", "route", "prompt", "token_ids", "completions", "scores", "chosen", "u", "F", "baseline", "kept"]
KEYS += ["label", "logps", "ref_logps", "weight"]


class Draws:
    """Drawn labels against their probabilities, over all runs."""

    def __init__(self):
        self.difference, self.variance, self.count = 0.0, 0.0, 0

    def add(self, is_first, probability):
        self.difference += is_first - probability
        self.variance += probability * (1 - probability)
        self.count += 1

    def check(self, check, name):
        if self.variance:
            score = self.difference / self.variance**0.5
            print(f"{name}: {self.count} drawn labels, {score:+.2f} standard deviations", flush=True)
            check.true(f"{name} drawn labels are within 5 standard deviations", abs(score) < 5)


class StepCheck:
    """One step: the rows of its lines, then its gradient."""

    def __init__(self, check, name, run, number, models, pairs, draws):
        self.check, self.name, self.run, self.number, self.draws = check, f"{name} step {number}", run, number, draws
        self.model, self.reference, self.tokenizer, self.ends = models
        self.pairs = pairs

    def rows(self, lines):
        """Torch's rows of the lines that were kept."""
        self.check.equal(f"{self.name} rows", [line.get("row") for line in lines], list(range(tools.PAIRS)))
        with torch.no_grad():
            return [self.row(line, f"{self.name} row {line['row']}") for line in lines if line.get("kept")]

    def row(self, line, what):
        check, pair = self.check, self.pairs[line["row"]]
        prompt_ids, responses = pair["prompt_ids"], line["token_ids"]
        check.equal(f"{what} prompt", line["prompt"], texts.PAIRS[line["row"]]["prompt"])
        decoded = [self.tokenizer.decode(ids, skip_special_tokens=True) for ids in responses]
        check.equal(f"{what} completions", line["completions"], decoded)
        row = {"route": line["route"], "prompt_ids": prompt_ids, "response_ids": responses}
        row |= self.run.coefficients(line["route"])
        row["lp"] = [fm.logp(self.model, prompt_ids, ids) for ids in responses]
        row["lr"] = [float(fm.logp(self.reference, prompt_ids, ids)) for ids in responses]
        row["u"] = self.run.objective.beta * fo.h_of(row)
        check.close_list("logps", f"{what} logps", line.get("logps"), [float(lp) for lp in row["lp"]])
        check.close_list("logps", f"{what} ref_logps", line.get("ref_logps"), row["lr"])
        check.close("u", f"{what} u", line["u"], float(row["u"]), LOG_TOLERANCE, 1.0)
        if line["route"] in ("dpp", "dpr"):
            self.generated(line, row, what)
        else:
            check.equal(f"{what} token_ids", responses, pair["response_ids"])
            check.equal(f"{what} generation_logps", line.get("generation_logps"), None)
        self.label(line, row, what)
        self.value(line, row, what)
        self.reference_sequence(line, row, what)
        return row

    def ends_well(self, what, ids):
        """An end token is the last; without one the limit was reached."""
        self.check.true(f"{what}: end token inside", all(token not in self.ends for token in ids[:-1]))
        self.check.true(f"{what}: length", ids and (len(ids) == LIMIT or len(ids) < LIMIT and ids[-1] in self.ends))

    def generated(self, line, row, what):
        """Responses of this prompt by these weights: their log-probability says so."""
        temperature, prompt_ids = self.run.temperature, row["prompt_ids"]
        expected = [float(fm.logp(self.model, prompt_ids, ids, temperature)) for ids in row["response_ids"]]
        found = line.get("generation_logps")
        self.check.close_list("generation_logps", f"{what} generation_logps", found, expected, LOG_TOLERANCE)
        for ids in row["response_ids"]:
            self.ends_well(f"{what} {ids}", ids)
        decoding = found if temperature == 1 and found else [float(lp) for lp in row["lp"]]
        row["decode_u"] = self.run.objective.beta * float(fo.h_of({**row, "lp": decoding}))
        if self.run.is_weighted:
            row["generation_logps"] = expected

    def label(self, line, row, what):
        """Sets the row's label from the file after checking what it says."""
        check, found, chosen, route = self.check, line.get("label"), line["chosen"], line["route"]
        if route in ("ddp", "dpp"):
            row["label"], row["chosen"] = self.run.labels(route), chosen
            check.equal(f"{what} label", found, row["label"])
            if row["label"] == "sample":
                check.true(f"{what} chosen is drawn", chosen in (0, 1))
                self.draws.add(chosen == 0, float(self.link(row["u"])))
            else:
                likelier = None if row["label"] == "expected" else 0 if row["u"] > 0 else 1
                check.equal(f"{what} chosen", chosen, likelier)
            return
        if route == "offline":
            check.equal(f"{what} label", found, 1)
        else:
            self.oracle_label(line, what)
        check.equal(f"{what} chosen", chosen, None if found == 0.5 else 0 if found > 0.5 else 1)
        row["label"] = found

    def link(self, u):
        return fo.log_link(self.run.objective, torch.as_tensor(u, dtype=torch.float64)).exp()

    def oracle_label(self, line, what):
        """`shorter`: minus the number of characters."""
        check, found, scores = self.check, line.get("label"), line["scores"]
        check.equal(f"{what} scores", scores, [-len(text) for text in line["completions"]])
        kind = self.run.labels("dpr")
        probability = float(self.link(scores[0] - scores[1]))
        if kind == "soft":
            check.close("label", f"{what} label", found, probability, EXACT)
        elif scores[0] == scores[1]:
            # A tie has ½; whether `sample` draws it is left open.
            check.true(f"{what} label of a tie: {found}", found == 0.5 or (kind == "sample" and found in (0, 1)))
        elif kind == "argmax":
            check.equal(f"{what} label", found, 1 if scores[0] > scores[1] else 0)
        else:
            check.true(f"{what} label is drawn: {found}", found in (0, 1))
            self.draws.add(found, probability)

    def value(self, line, row, what):
        """F and the weight."""
        objective = self.run.objective
        if objective.loss_kind == "sigmoid":
            _, value = fo.label_loss(objective, row)
            self.check.close("F", f"{what} F", line["F"], float(value), LOG_TOLERANCE, 1.0)
        weight = 1.0
        if "generation_logps" in row:
            exponent = sum(float(lp) - lq for lp, lq in zip(row["lp"], row["generation_logps"]))
            weight = min(fo.LARGEST_WEIGHT, math.exp(exponent))
        self.check.close("weight", f"{what} weight", line.get("weight"), weight, WEIGHT_TOLERANCE)

    def reference_sequence(self, line, row, what):
        ids = line.get("reference_ids")
        objective = self.run.objective
        if objective.revkl and objective.revkl_on == "reference" and line["route"] == "offline":
            if not ids:
                self.check.fail(f"{what}: no reference_ids")
                return
            self.ends_well(f"{what} reference_ids {ids}", ids)
            row["reference_ids"] = ids
        else:
            self.check.equal(f"{what} reference_ids", ids, None)

    def sampled_from_reference(self, rows):
        """Over a step's sequences the reference finds its own more probable than the model does."""
        known = [(row["prompt_ids"], row["reference_ids"]) for row in rows if "reference_ids" in row]
        if known:
            with torch.no_grad():
                own, other = (
                    sum(float(fm.logp(model, *each)) for each in known) for model in (self.reference, self.model)
                )
            self.check.true(f"{self.name} reference_ids: {own:.1f} by the reference, {other:.1f}", own > other)

    def baselines(self, lines, rows, previous):
        """Sets the baselines of online rows; gives the mean V, or the previous one if there are none."""
        online = [row for row in rows if "decode_u" in row]
        values = [self.decode_value(row) for row in online]
        if not values:
            return previous
        if self.run.baseline == "none":
            baselines = [0.0] * len(values)
        elif self.run.baseline == "previous" or len(values) == 1:
            baselines = [previous] * len(values)
        else:
            baselines = fo.leave_one_out(values)
        kept = [line for line in lines if line.get("kept") and line["route"] in ("dpp", "dpr")]
        is_known = self.run.objective.t1_estimator == "score" and self.run.objective.loss_kind == "sigmoid"
        for line, row, baseline in zip(kept, online, baselines):
            row["baseline"] = baseline
            if is_known:
                what = f"{self.name} row {line['row']} baseline"
                self.check.close("baseline", what, line["baseline"], baseline, LOG_TOLERANCE, 1.0)
        return sum(values) / len(values)

    def decode_value(self, row):
        """V by the log-probabilities while decoding; a drawn self-label counts in expectation."""
        label = "expected" if row["label"] == "sample" else row["label"]
        u = torch.tensor(row["decode_u"], dtype=torch.float64)
        sigmoid = dataclasses.replace(self.run.objective, loss_kind="sigmoid")
        return float(fo.label_loss(sigmoid, {**row, "label": label, "u": u})[1])

    def gradient(self, rows):
        inputs = [{key: value for key, value in row.items() if key not in ("lp", "u", "decode_u")} for row in rows]
        loss, gradient, computed = tools.torch_gradient(self.model, self.reference, inputs, self.run.objective)
        floor = sum(abs(float(row["loss"].detach())) for row in computed) / tools.PAIRS
        # The value of the released estimator's surrogate says nothing.
        return None if self.run.objective.t1_estimator == "released" else loss, gradient, floor


def write_config(check, case, run, folder, reference, rate):
    section = dict(run.sail)
    if run.objective.t1_estimator == "released":
        section |= {"t1_estimator": "released", "released_scale": run.objective.released_scale}
    sections = {
        "method": "sail" if run.sail else "dpo",
        "objective": tools.objective_section(run.objective),
        "optimizer": {"name": "sgd", "learning_rate": rate, "schedule": "constant", "weight_decay": 0, "clip": CLIP},
        "generation": {"temperature": run.temperature, "max_new_tokens": LIMIT},
        "samples": {"every": 1, "rows": "all"},
        "steps": STEPS,
        # Draws of its own, so that labels of all runs together are independent.
        "seed": list(RUNS).index(case) + 3,
    }
    if run.sail:
        sections |= {"sail": section, "oracle": {"rule": "shorter"}}
    config = check.path(f"{case}.yaml")
    tools.write_run_file(config, folder, reference, case, rate, **sections)
    return config


def check_run(check, name, case, run, folder, reference, draws):
    # The run file's number, so that torch's step has the same.
    rate = float(f"{UPDATE * tools.norm(tools.state(folder)) / CLIP:.3g}")
    if not tools.train(check, write_config(check, case, run, folder, reference, rate)):
        return
    first = os.path.join(case, "checkpoints", "step-00000001")
    if not check.run("export", first, "--out", f"{case}-1"):
        return
    folders = [folder, check.path(f"{case}-1"), check.path(case, "model")]
    lines = check.lines(os.path.join(case, "samples.jsonl"))
    missing = sorted({key for line in lines for key in KEYS if key not in line})
    if missing or len(lines) != STEPS * tools.PAIRS:
        check.fail(f"{name} {case}: {len(lines)} lines of samples, missing keys {missing}")
        return
    pairs = tools.encoded_pairs(folder, texts.PAIRS)
    tokenizer, frozen = fm.load_tokenizer(folder), fm.load(reference, torch.float64)
    _, ends = fm.end_tokens(folder, tokenizer)
    previous = -math.log(2)
    for number, (before, after) in enumerate(zip(folders, folders[1:]), start=1):
        models = fm.load(before, torch.float64), frozen, tokenizer, ends
        step = StepCheck(check, f"{name} {case}", run, number, models, pairs, draws)
        own_lines = [line for line in lines if line["step"] == number]
        rows = step.rows(own_lines)
        step.sampled_from_reference(rows)
        previous = step.baselines(own_lines, rows, previous)
        loss, gradient, floor = step.gradient(rows)
        size = tools.norm(gradient)
        check.true(f"{step.name} gradient norm {size:.2g} is above the clip", size > CLIP)
        tools.check_metrics(check, case, number, loss, gradient, floor)
        tools.check_update(check, step.name, before, after, gradient, rate * min(1, CLIP / (size + 1e-6)))


def check_online(check, name, folder, reference, cases):
    """`cases`: names, or none for all."""
    fm.write_jsonl(check.path("train.jsonl"), texts.PAIRS)
    draws = Draws()
    for case, run in RUNS.items():
        if cases and case not in cases:
            continue
        failures = check.failures
        check_run(check, name, case, run, folder, reference, draws)
        print(f"{name} {case}: {'ok' if check.failures == failures else 'FAILED'}", flush=True)
    draws.check(check, name)
