"""Writes Tests/Fixtures/models/families: a tiny folder of each decoder family and what transformers answers for it.

    python make_family_fixtures.py [--models Tests/Fixtures/models] [NAME…]

Needs the folder `gqa-tied` of make_model_fixtures.py, which calls this script as well.
"""

import argparse
import os

import fixture_models as fm  # first: it fixes the CPU paths before torch is loaded
import fixture_steps as steps
import fixture_texts as texts
import torch
from fixture_expected import greedy_rows, score_rows, versions
from fixture_families import FAMILIES

REFERENCE = "gqa-tied"
# Rows longer than every window and than the original positions of llama3's rotary embedding.
LONG_FOLDERS = ["llama3", "mistral-window", "phi3-longrope", "qwen2-window"]


def write_expected(models, name):
    path = os.path.join(models, "families", name)
    model, exact = fm.load(path), fm.load(path, torch.float64)
    reference = fm.load(os.path.join(models, REFERENCE))
    tokenizer = fm.load_tokenizer(path)
    end, ends = fm.end_tokens(path, tokenizer)
    with torch.no_grad():
        arguments = tokenizer, end, model, exact, reference
        value = {
            "versions": versions(),
            "reference": REFERENCE,
            "end_token": end,
            "generation_ends": ends,
            "pairs": score_rows(*arguments, texts.PAIRS, with_tokens=1),
            "greedy": greedy_rows(tokenizer, ends, model, fewest_ended=0),
        }
        if name in LONG_FOLDERS:
            value["long"] = score_rows(*arguments, texts.LONG_ROWS, with_tokens=0)
    fm.write_json(os.path.join(path, "expected.json"), value)
    print(name, *[f"{row['smallest_gap']:.3f}{row['finish'][0]}" for row in value["greedy"]])


def write_step(models, name):
    """step.json, step.safetensors: one SGD step of DPO on the pairs."""
    path = os.path.join(models, "families", name)
    tokenizer = fm.load_tokenizer(path)
    end, _ = fm.end_tokens(path, tokenizer)
    rows = []
    for row in texts.PAIRS:
        ids = fm.encode_pair(tokenizer, row, end)
        rows.append({"prompt_ids": ids["prompt_ids"], "response_ids": [ids["chosen_ids"], ids["rejected_ids"]]})
    rows = steps.reference_rows(fm.load(os.path.join(models, REFERENCE)), rows)
    loss_of = steps.pair_loss(rows, steps.dpo_rows, {})
    settings = {"versions": versions(), "method": "dpo", "reference": REFERENCE, "beta": steps.BETA}
    rate = steps.rate_of(path, loss_of)
    steps.write_step(path, "dpo", f"families/{name}", models, loss_of, settings, rate)


def write(models, names=FAMILIES):
    tokenizer = fm.train_tokenizer()
    for name in names:
        fm.save_folder(os.path.join(models, "families", name), FAMILIES[name], tokenizer)
        write_expected(models, name)
        write_step(models, name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models")
    parser.add_argument("--models", default=folder)
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(FAMILIES))
    arguments = parser.parse_args()
    write(arguments.models, arguments.names)


if __name__ == "__main__":
    main()
