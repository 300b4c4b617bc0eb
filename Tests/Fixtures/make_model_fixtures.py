"""Writes Tests/Fixtures/models: tiny folders and what transformers and torch answer for them.

    python make_model_fixtures.py [--out Tests/Fixtures/models]

Deterministic: with the versions of requirements.txt every file comes out byte for byte the same.
"""

import argparse
import os
import shutil
import subprocess
import sys

import fixture_models as fm  # first: it fixes the CPU paths before torch is loaded
import fixture_optimizers as optimizers
import fixture_steps as steps
import fixture_texts as texts
import fixture_values as values
import fixture_variants as variants
import make_adapter_fixtures as adapters
import make_family_fixtures as families
import make_reward_fixtures as rewards
import numpy
import torch
from fixture_expected import greedy_rows, score_rows, versions

# One folder each; what is not said is in fixture_models.build_model.
SPECS = {
    "gqa-tied": {"seed": 1, "key_value_heads": 2, "feed_forward": 40, "chat_template": True},
    "mha-untied-sharded": {
        "seed": 26, "feed_forward": 44, "theta": 1e6, "tied": False, "shard_size": "60KB", "ends": ["<|im_end|>"],
    },
    "mqa-tied-bf16": {
        "seed": 3, "hidden": 48, "key_value_heads": 1, "feed_forward": 40, "theta": 1e6, "dtype": "bfloat16",
        "old_form": True, "chat_template": True, "epsilon": 1e-5, "head_scale": 0.2,
    },
    "gqa-untied-f16": {
        "seed": 41, "key_value_heads": 2, "feed_forward": 52, "head_size": 16, "tied": False, "dtype": "float16",
        "ends": ["<|endoftext|>", "<|im_end|>"], "config_end": "<|endoftext|>",
    },
}
REFERENCES = {
    "gqa-tied": "mha-untied-sharded",
    "mha-untied-sharded": "gqa-tied",
    "mqa-tied-bf16": "gqa-untied-f16",
    "gqa-untied-f16": "gqa-tied",
}
LONG_FOLDER = "mha-untied-sharded"


def write_expected(out, folder):
    path = os.path.join(out, folder)
    model, exact = fm.load(path), fm.load(path, torch.float64)
    reference = fm.load(os.path.join(out, REFERENCES[folder]))
    tokenizer = fm.load_tokenizer(path)
    end, ends = fm.end_tokens(path, tokenizer)
    with torch.no_grad():
        pairs = score_rows(tokenizer, end, model, exact, reference, texts.PAIRS, with_tokens=3)
        value = {
            "versions": versions(),
            "reference": REFERENCES[folder],
            "end_token": end,
            "generation_ends": ends,
            "pairs": pairs,
            "greedy": greedy_rows(tokenizer, ends, model),
        }
        if folder == LONG_FOLDER:
            value["long"] = score_rows(tokenizer, end, model, exact, reference, texts.LONG_ROWS, with_tokens=0)
    fm.write_json(os.path.join(path, "expected.json"), value)
    gaps = [f"{row['smallest_gap']:.3f}{row['finish'][0]}" for row in value["greedy"]]
    counts = [(len(row["prompt_ids"]), row["chosen_tokens"], row["rejected_tokens"]) for row in pairs]
    print(folder, "smallest gaps", *gaps, "tokens", *counts)


def tokenizer_cases(tokenizer, end):
    """Text → ids, ids → text, completion → ids with the end token, conversation → text → ids."""
    encoded = []
    for text in texts.TOKENIZER_TEXTS:
        ids = tokenizer(text)["input_ids"]
        encoded.append(
            {
                "text": text,
                "ids": ids,
                "ids_without_special": tokenizer(text, add_special_tokens=False)["input_ids"],
                "decoded": tokenizer.decode(ids, skip_special_tokens=False),
                "decoded_skipping_special": tokenizer.decode(ids, skip_special_tokens=True),
            }
        )
    return {"encoded": encoded, "completions": completion_cases(tokenizer, end), "decoded": decoding_cases(tokenizer)}


def completion_cases(tokenizer, end):
    cases = ["", " ", "yes", "yes<|im_end|>", "yes<|im_end|>\n", "<|im_end|>", "<|endoftext|>"]
    return [{"text": text, "ids": fm.completion_ids(tokenizer, text, end)} for text in cases]


def decoding_cases(tokenizer):
    """Halves of characters, bytes in no order, and ids that the tokenizer lacks."""
    emoji = tokenizer("👋🏽x你", add_special_tokens=False)["input_ids"]
    generator = numpy.random.Generator(numpy.random.PCG64(5))
    drawn = [generator.integers(0, fm.VOCABULARY, 24).tolist() for _ in range(6)]
    bytes_only = [generator.integers(0, 256, 16).tolist() for _ in range(4)]
    lists = [emoji[:1], emoji[:2], emoji[:3], emoji[1:], [382], [72, 383, 73], *drawn, *bytes_only]
    return [
        {
            "ids": ids,
            "text": tokenizer.decode(ids, skip_special_tokens=False),
            "text_skipping_special": tokenizer.decode(ids, skip_special_tokens=True),
        }
        for ids in lists
    ]


def write_tokens(out, base):
    """tokens.json for the tokenizer that all folders share, and one that puts a token at the beginning."""
    loaded = {name: fm.load_tokenizer(os.path.join(out, name)) for name in SPECS}
    end = base.token_to_id("<|im_end|>")
    results = {name: tokenizer_cases(tokenizer, end) for name, tokenizer in loaded.items()}
    first = results["gqa-tied"]
    for name, result in results.items():
        for kind in first:
            for expected, found in zip(first[kind], result[kind]):
                assert expected == found, (name, expected, found)
    value = {"versions": versions(), **first, "conversations": []}
    for messages in texts.CONVERSATIONS:
        rendered = loaded["gqa-tied"].apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert rendered == loaded["mqa-tied-bf16"].apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        ids = loaded["gqa-tied"](rendered, add_special_tokens=False)["input_ids"]
        value["conversations"].append({"messages": messages, "text": rendered, "ids": ids})
    fm.write_json(os.path.join(out, "tokens.json"), value)
    folder = os.path.join(out, "tokenizer-with-begin")
    fm.save_tokenizer(base, folder, old_form=False, begin_token="<|endoftext|>")
    tokenizer = fm.load_tokenizer(folder)
    cases = [
        {
            "text": text,
            "ids": tokenizer(text)["input_ids"],
            "ids_without_special": tokenizer(text, add_special_tokens=False)["input_ids"],
        }
        for text in ["", "a", " The question", "你好\n", "é<|im_end|>"]
    ]
    fm.write_json(os.path.join(folder, "tokens.json"), {"versions": versions(), "encoded": cases})


def given_rows(model, tokenizer, end, reference):
    """Two fixed responses a prompt, as if generated."""
    generator = numpy.random.Generator(numpy.random.PCG64(77))
    rows = []
    for index, prompt in enumerate(texts.STEP_PROMPTS):
        prompt_ids = tokenizer(prompt)["input_ids"]
        lengths = [(9, 14), (5, 6), (16, 3), (12, 16)][index]
        responses = steps.sampled_responses(model, prompt_ids, end, generator, lengths)
        rows.append({"prompt": prompt, "prompt_ids": prompt_ids, "response_ids": responses})
    return steps.reference_rows(reference, rows)


def write_steps(out):
    folder, other = "gqa-tied", "mha-untied-sharded"
    steps_folder = os.path.join(out, "steps")
    os.makedirs(steps_folder)
    model, reference = fm.load(os.path.join(out, folder)), fm.load(os.path.join(out, other))
    tokenizer = fm.load_tokenizer(os.path.join(out, folder))
    end, _ = fm.end_tokens(os.path.join(out, folder), tokenizer)
    encoded = [fm.encode_pair(tokenizer, row, end) for row in texts.PAIRS]

    def pair_rows(frozen):
        rows = [
            {"prompt_ids": row["prompt_ids"], "response_ids": [row["chosen_ids"], row["rejected_ids"]]}
            for row in encoded
        ]
        return steps.reference_rows(frozen, rows)

    def step(name, rows, rule, rate, keywords):
        settings = {"versions": versions(), "method": name, "reference": other, "beta": steps.BETA}
        settings |= {f"{key}_coefficient": value for key, value in keywords.items()}
        steps.write_step(steps_folder, name, folder, out, steps.pair_loss(rows, rule, keywords), settings, rate)

    step("dpo", pair_rows(reference), steps.dpo_rows, 0.2, {})
    step("ddp_expected", pair_rows(reference), steps.ddp_expected_rows, 2.0, {"preference": 0.2})
    step("ddp_argmax", pair_rows(reference), steps.ddp_argmax_rows, 0.2, {})
    given = given_rows(model, tokenizer, end, reference)
    step("dpp", given, steps.dpp_rows, 0.1, {"preference": 0.2, "response": 0.3})
    labelled = [{**row, "chosen": chosen} for row, chosen in zip(given, [0, 1, 1, 0])]
    step("dpr", labelled, steps.dpr_rows, 0.02, {"response": 0.3})

    long_rows = [fm.encode_pair(tokenizer, row, end) for row in texts.LONG_ROWS[:1]]
    sft_rows = [
        {"prompt_ids": row["prompt_ids"], "completion_ids": row["chosen_ids"]} for row in encoded + long_rows
    ]
    settings = {"versions": versions(), "method": "sft"}
    steps.write_step(steps_folder, "sft", other, out, steps.sft_loss(sft_rows), settings, 0.2)

    runs = [(folder, other, pair_rows(reference)), (other, folder, pair_rows(model))]
    optimizers.write_adamw(out, runs, versions())
    optimizers.write_rmsprop(out, runs, versions())
    writer = variants.VariantWriter(out, folder, other, versions())
    writer.write_pairs(pair_rows(reference))
    writer.write_given(given, end)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "models"))
    out = parser.parse_args().out
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    base = fm.train_tokenizer()
    for name, spec in SPECS.items():
        fm.save_folder(os.path.join(out, name), spec, base)
    fm.write_jsonl(os.path.join(out, "pairs.jsonl"), texts.PAIRS)
    fm.write_jsonl(os.path.join(out, "long.jsonl"), texts.LONG_ROWS)
    write_tokens(out, base)
    for name in SPECS:
        write_expected(out, name)
    write_steps(out)
    fm.write_json(os.path.join(out, "sail_values.json"), values.values())
    families.write(out)
    adapters.write(out)
    rewards.write(out)
    # A process of its own: TRL's settings of torch reach no other value.
    trl_script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "make_trl_values.py")
    subprocess.run([sys.executable, trl_script, "--out", out], check=True)


if __name__ == "__main__":
    main()
