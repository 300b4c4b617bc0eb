"""Writes Tests/Fixtures/models/rewards: reward models in the published forms, their scores, and training steps.

    python make_reward_fixtures.py [--models Tests/Fixtures/models]

make_model_fixtures.py calls this script as well.
"""

import argparse
import os

import fixture_models as fm  # first: it fixes the CPU paths before torch is loaded
import fixture_rewards as rewards
import fixture_steps as steps
import fixture_texts as texts
import torch
import torch.nn.functional as F
from fixture_expected import versions

STEP_FOLDER = "qwen2"
MARGINS = [0.5, 0, 1.25, 2, 0.25, 1, 3, 0.75]


def rows():
    """Both responses of each pair, and texts that end in the end token or in the padding token."""
    both = [{"prompt": row["prompt"], "completion": row[side]} for row in texts.PAIRS for side in ["chosen", "rejected"]]
    return both + [
        {"prompt": texts.LONG_PARAGRAPH, "completion": texts.LONG_PARAGRAPH * 2},
        {"prompt": "Say it ", "completion": "again"},  # another token than the two alone
        {"prompt": "Say it again:", "completion": " the answer<|im_end|>"},
        {"prompt": "Say it again:", "completion": " the<|endoftext|> answer<|endoftext|><|endoftext|>"},
        {"prompt": "Say it again:", "completion": ""},
    ]


def write_expected(path):
    """The raw score of each row; transformers reads it at the last token that is not `pad_token_id`."""
    model, exact = rewards.load(path), rewards.load(path, torch.float64)
    tokenizer = fm.load_tokenizer(path)
    scored = []
    with torch.no_grad():
        for row in rows():
            ids = tokenizer(row["prompt"] + row["completion"])["input_ids"]
            values = [float(rewards.score(each, ids)) for each in (model, exact)]
            assert abs(values[0] - values[1]) < 5e-6 * max(1, abs(values[1])), values
            scored.append({"ids": ids, "score": values[0], "float64_score": values[1]})
    fm.write_json(os.path.join(path, "expected.json"), {"versions": versions(), "rows": scored})
    print(os.path.basename(path), *[f"{row['score']:.3f}" for row in scored])


def preference_loss(encoded):
    """TRL's: mean over the pairs of −log σ(score of the chosen − score of the rejected − margin)."""

    def loss_of(model):
        values = []
        for row in encoded:
            scores = [rewards.score(model, row["prompt_ids"] + row[f"{side}_ids"]) for side in ["chosen", "rejected"]]
            loss = -F.logsigmoid(scores[0] - scores[1] - row.get("margin", 0.0))
            values.append({**row, "scores": scores, "loss": loss})
        loss = torch.stack([row["loss"] for row in values]).mean()
        for row in values:
            row["scores"] = [float(score.detach()) for score in row["scores"]]
            row["loss"] = float(row["loss"].detach())
        accuracy = sum(row["scores"][0] > row["scores"][1] for row in values) / len(values)
        return loss, {"accuracy": accuracy, "rows": values}

    return loss_of


def write_steps(folder):
    """One SGD step of every weight, without and with margins."""
    path = os.path.join(folder, STEP_FOLDER)
    tokenizer = fm.load_tokenizer(path)
    end, _ = fm.end_tokens(path, tokenizer)
    encoded = [fm.encode_pair(tokenizer, row, end) for row in texts.PAIRS]
    margined = [{**row, "margin": margin} for row, margin in zip(encoded, MARGINS)]
    for name, each in [("plain", encoded), ("margin", margined)]:
        loss_of = preference_loss(each)
        rate = steps.rate_of(path, loss_of, rewards.load)
        settings = {"versions": versions(), "method": "reward"}
        steps.write_step(path, name, STEP_FOLDER, folder, loss_of, settings, rate, rewards.load)


def write(models):
    folder = os.path.join(models, "rewards")
    tokenizer = fm.train_tokenizer()
    for name, spec in rewards.REWARDS.items():
        rewards.save_reward(os.path.join(folder, name), spec, tokenizer)
        write_expected(os.path.join(folder, name))
    fm.write_jsonl(os.path.join(folder, "rows.jsonl"), rows())
    margined = [{**row, "margin": margin} for row, margin in zip(texts.PAIRS, MARGINS)]
    fm.write_jsonl(os.path.join(folder, "margins.jsonl"), margined)
    write_steps(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models")
    parser.add_argument("--models", default=folder)
    write(parser.parse_args().models)


if __name__ == "__main__":
    main()
