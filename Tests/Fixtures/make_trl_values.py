"""Writes trl_values.json: what TRL's DPOTrainer says of the eight pairs, before any update.

    python make_trl_values.py [--out Tests/Fixtures/models]

make_model_fixtures.py calls this at its end.
"""

import argparse
import json
import os
import tempfile

import fixture_models as fm  # first: it fixes the CPU paths before torch is loaded
import fixture_texts as texts
import torch
import trl
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

FOLDER, REFERENCE = "gqa-tied", "mha-untied-sharded"
BETA = 0.1
# TRL's settings of Sail's losses, and what they are in Sail's run file.
CASES = {
    "sigmoid": ({"loss_type": ["sigmoid"]}, {"loss": "sigmoid"}),
    "hinge": ({"loss_type": ["hinge"]}, {"loss": "hinge"}),
    "ipo": ({"loss_type": ["ipo"]}, {"loss": "ipo-mean"}),
    # No loss type of this version is cDPO: `sigmoid` has no smoothing, and `robust` with e is
    # ((1 − e) ℓ(+) − e ℓ(−)) / (1 − 2e). With e = −ε / (1 − 2ε) that is (1 − ε) ℓ(+) + ε ℓ(−): cDPO.
    "cdpo": ({"loss_type": ["robust"], "label_smoothing": -0.125}, {"loss": "sigmoid", "label_smoothing": 0.1}),
}
METRICS = [f"rewards/{name}" for name in ("chosen", "rejected", "margins", "accuracies")]
METRICS += ["logps/chosen", "logps/rejected", "logits/chosen", "logits/rejected", "entropy"]


class Trainer(DPOTrainer):
    """DPOTrainer on token ids that are given."""

    def _prepare_dataset(self, dataset, *arguments):
        # TRL tokenizes prompt and completion in one piece: where a token spans the border, the end of the prompt goes
        # into the completion. Sail tokenizes both apart, so that the prompt has the ids that it has in generation.
        return dataset

    def compute_loss(self, *arguments, **keywords):
        loss = super().compute_loss(*arguments, **keywords)
        self.exact_loss = float(loss.detach())  # the log's is rounded
        return loss


def ids_of_trl(tokenizer, row):
    """As TRL would tokenize a row."""
    end = tokenizer.eos_token
    prompt = tokenizer(row["prompt"])["input_ids"]
    both = [
        tokenizer(row["prompt"] + (text if text.endswith(end) else text + end))["input_ids"]
        for text in (row["chosen"], row["rejected"])
    ]
    length = min(len(os.path.commonprefix([prompt, ids])) for ids in both)
    return {"prompt_ids": prompt[:length], "chosen_ids": both[0][length:], "rejected_ids": both[1][length:]}


def run(models_folder, tokenizer, rows, settings):
    """One step at learning rate 0."""
    model, reference = (fm.load(os.path.join(models_folder, name)) for name in (FOLDER, REFERENCE))
    with tempfile.TemporaryDirectory() as work:
        arguments = DPOConfig(
            output_dir=work, use_cpu=True, bf16=False, gradient_checkpointing=False, beta=BETA, max_length=None,
            per_device_train_batch_size=len(rows), train_sampling_strategy="sequential", max_steps=1,
            learning_rate=0.0, max_grad_norm=1e9, logging_steps=1, save_strategy="no", report_to="none",
            disable_tqdm=True, **settings,
        )
        trainer = Trainer(
            model=model, ref_model=reference, args=arguments, train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )
        batch = next(iter(trainer.get_train_dataloader()))
        found = list(zip(batch["input_ids"].tolist(), batch["completion_mask"].tolist()))
        assert found == list(padded(rows, tokenizer.pad_token_id)), "TRL's token ids differ"
        trainer.train()
    logged = next(line for line in trainer.state.log_history if "rewards/chosen" in line)
    values = {"loss": trainer.exact_loss, "grad_norm": float(logged["grad_norm"])}
    assert abs(logged["loss"] - values["loss"]) < 1e-4 * values["loss"], (logged, values)
    return values | {key: float(logged[key]) for key in METRICS}


def padded(rows, pad):
    """Every sequence of the batch with its mask of completion tokens."""
    sequences = [(row["prompt_ids"], row[f"{side}_ids"]) for side in ("chosen", "rejected") for row in rows]
    longest = max(len(prompt) + len(completion) for prompt, completion in sequences)
    for prompt, completion in sequences:
        rest = longest - len(prompt) - len(completion)
        mask = [0] * len(prompt) + [1] * len(completion) + [0] * rest
        yield prompt + completion + [pad] * rest, mask


def mean_logits(models_folder, rows):
    """Mean logit over vocabulary and completion tokens: over all tokens (TRL's), and the mean of the rows' (Sail's)."""
    model = fm.load(os.path.join(models_folder, FOLDER))
    by_token, by_row = {}, {}
    with torch.no_grad():
        for side in ["chosen", "rejected"]:
            means = []
            for row in rows:
                ids = torch.tensor([row["prompt_ids"] + row[f"{side}_ids"]])
                logits = model(ids, use_cache=False).logits[0, len(row["prompt_ids"]) - 1 : -1].double()
                means.append(logits.mean(-1))
            by_token[f"logits/{side}"] = float(torch.cat(means).mean())
            by_row[f"logits/{side}"] = float(torch.stack([mean.mean() for mean in means]).mean())
    return by_token, by_row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "models"))
    out = parser.parse_args().out
    tokenizer = fm.load_tokenizer(os.path.join(out, FOLDER))
    end, _ = fm.end_tokens(os.path.join(out, FOLDER), tokenizer)
    rows = [fm.encode_pair(tokenizer, row, end) for row in texts.PAIRS]
    with open(os.path.join(out, FOLDER, "expected.json"), encoding="utf-8") as file:
        for row, expected in zip(rows, json.load(file)["pairs"], strict=True):
            assert all(expected[key] == ids for key, ids in row.items())
    by_token, by_row = mean_logits(out, rows)
    cases = {}
    for name, (settings, sail) in CASES.items():
        cases[name] = {"trl": settings, "sail": sail, **run(out, tokenizer, rows, settings)}
        for key, value in by_token.items():
            assert abs(cases[name][key] - value) < 1e-5 * abs(value), (name, key)
        print("trl", name, {key: round(value, 5) for key, value in cases[name].items() if isinstance(value, float)})
    other = [index for index, row in enumerate(texts.PAIRS) if ids_of_trl(tokenizer, row) != rows[index]]
    versions = {"trl": trl.__version__, "torch": torch.__version__}
    value = {"versions": versions, "model": FOLDER, "reference": REFERENCE, "pairs": "pairs.jsonl", "beta": BETA}
    value |= {"rows_with_other_ids_in_trl": other, "logits_by_row": by_row, "cases": cases}
    fm.write_json(os.path.join(out, "trl_values.json"), value)


if __name__ == "__main__":
    main()
