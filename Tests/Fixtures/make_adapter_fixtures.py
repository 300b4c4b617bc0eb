"""Writes Tests/Fixtures/models/adapters: LoRA adapters by peft, and what peft and torch answer for them.

    python make_adapter_fixtures.py [--models Tests/Fixtures/models] [NAME…]

Needs the folders of make_model_fixtures.py, which calls this script as well.
"""

import argparse
import os

import fixture_adapters as adapters  # first: it fixes the CPU paths before torch is loaded
import fixture_models as fm
import fixture_steps as steps
import fixture_texts as texts
import peft
import torch
from fixture_expected import greedy_rows, score_rows, versions

ADAPTERS = {
    # Every projection, rank-stabilised: α / √r.
    "llama-all": {
        "seed": 301, "base": "families/llama", "targets": adapters.PROJECTIONS, "rslora": True,
    },
    # Two of them, grouped heads, biases in the base; the dropout is for training only.
    "qwen2-some": {"seed": 302, "base": "gqa-tied", "targets": ["q_proj", "v_proj"], "dropout": 0.05},
    # Fused modules: one A for queries, keys and values.
    "phi3-fused": {"seed": 303, "base": "families/phi3", "targets": adapters.FUSED},
}


def write_expected(name):
    """expected.json as a model's folder has it: `ref_logps` are the base's, `merged_logps` of the merged weights."""
    spec, path = ADAPTERS[name], os.path.join("adapters", name)
    model, exact, base = adapters.load(path), adapters.load(path, torch.float64), fm.load(spec["base"])
    tokenizer = fm.load_tokenizer(spec["base"])
    end, ends = fm.end_tokens(spec["base"], tokenizer)
    with torch.no_grad():
        rows = score_rows(tokenizer, end, model, exact, base, texts.PAIRS, with_tokens=0)
        with model.disable_adapter():
            off = score_rows(tokenizer, end, model, fm.load(spec["base"], torch.float64), base, texts.PAIRS, 0)
        assert all(row["logps/chosen"] == row["ref_logps/chosen"] for row in off)
        greedy = greedy_rows(tokenizer, ends, model, fewest_ended=0)
        whole = adapters.merged(path)
        for row in rows:
            for side in ["chosen", "rejected"]:
                row[f"merged_logps/{side}"] = float(fm.logp(whole, row["prompt_ids"], row[f"{side}_ids"]))
    value = {
        "versions": {**versions(), "peft": peft.__version__},
        "reference": spec["base"],
        "end_token": end,
        "generation_ends": ends,
        "pairs": rows,
        "greedy": greedy,
    }
    fm.write_json(os.path.join(path, "expected.json"), value)
    print(name, *[f"{row['smallest_gap']:.3f}{row['finish'][0]}" for row in greedy])


def write_steps(name):
    """One SGD step of DPO of the adapter alone: against the base (adapter off), and against the adapter as it was."""
    spec, path = ADAPTERS[name], os.path.join("adapters", name)
    tokenizer = fm.load_tokenizer(spec["base"])
    end, _ = fm.end_tokens(spec["base"], tokenizer)
    encoded = [fm.encode_pair(tokenizer, row, end) for row in texts.PAIRS]
    for case, reference in [("off", spec["base"]), ("frozen", path)]:
        frozen = fm.load(reference) if case == "off" else adapters.load(reference)
        rows = [
            {"prompt_ids": row["prompt_ids"], "response_ids": [row["chosen_ids"], row["rejected_ids"]]}
            for row in encoded
        ]
        loss_of = steps.pair_loss(steps.reference_rows(frozen, rows), steps.dpo_rows, {})
        rate = steps.rate_of(path, loss_of, adapters.load)
        settings = {"versions": {**versions(), "peft": peft.__version__}, "method": "dpo", "base": spec["base"]}
        settings |= {"reference": reference, "beta": steps.BETA}
        steps.write_step(path, case, path, ".", loss_of, settings, rate, adapters.load)


def write(models, names=tuple(ADAPTERS)):
    # So that adapter_config.json names its base by a path inside this folder.
    before = os.getcwd()
    os.chdir(models)
    for name in names:
        adapters.save_adapter(os.path.join("adapters", name), ADAPTERS[name]["base"], ADAPTERS[name])
        write_expected(name)
        write_steps(name)
    os.chdir(before)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models")
    parser.add_argument("--models", default=folder)
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(ADAPTERS))
    arguments = parser.parse_args()
    write(arguments.models, arguments.names)


if __name__ == "__main__":
    main()
