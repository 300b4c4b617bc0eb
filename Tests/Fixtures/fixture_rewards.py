"""Tiny reward models in the forms that people publish, and their scores.

transformers knows the …ForSequenceClassification classes. safe-rlhf's score models and Eurus-RM bring code of their own
that no package registry has; `ScoreModel` computes what that code does for a sequence without padding: a linear head on
the base's last hidden state, read at the last token; safe-rlhf's is normalised where config.json says `do_normalize`
(reward: minus the mean, over the deviation; cost: over the deviation).
"""

import json
import os
import shutil

import fixture_models as fm  # first: it fixes the CPU paths before torch is loaded
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

ONE_LABEL = {"num_labels": 1}
PAD = 377  # <|endoftext|>
REWARDS = {
    "qwen2": {
        "seed": 401, "hidden": 16, "heads": 4, "key_value_heads": 2, "feed_forward": 24, "options": ONE_LABEL,
    },
    "llama": {  # with a padding id, and a tokenizer that puts a token at the beginning
        "seed": 402, "family": "llama", "hidden": 16, "heads": 2, "key_value_heads": 1, "feed_forward": 24,
        "tied": False, "epsilon": 1e-5, "old_form": True, "options": ONE_LABEL, "pad": PAD,
        "begin_token": "<|im_start|>",
    },
    "mistral": {
        "seed": 403, "family": "mistral", "hidden": 16, "heads": 4, "key_value_heads": 2, "feed_forward": 24,
        "tied": False, "options": {**ONE_LABEL, "sliding_window": 8},
    },
    "beaver-reward": {
        "seed": 404, "family": "llama", "hidden": 16, "heads": 2, "key_value_heads": 2, "feed_forward": 24,
        "tied": False, "old_form": True, "head": "score_head", "head_bias": True, "architecture": "LlamaForScore",
        "pad": PAD,
        "options": {
            "score_dim": 1, "score_bias": True, "score_type": "reward", "do_normalize": False,
            "normalizer_type": None, "momentum": None,
        },
    },
    "beaver-cost": {  # the older class name; normalised
        "seed": 405, "family": "llama", "hidden": 16, "heads": 2, "key_value_heads": 2, "feed_forward": 24,
        "tied": False, "old_form": True, "head": "score_head", "architecture": "LlamaModelForScore", "pad": PAD,
        "options": {
            "score_dim": 1, "bias": False, "score_type": "cost", "do_normalize": True,
            "normalizer_type": "ExponentialMovingAverage", "momentum": 0.9, "mean": [0.25], "var": [2.25],
        },
    },
    "eurus": {
        "seed": 406, "family": "mistral", "hidden": 16, "heads": 4, "key_value_heads": 2, "feed_forward": 24,
        "tied": False, "old_form": True, "head": "regression_head", "architecture": "EurusRewardModel",
        "options": {"sliding_window": None},
    },
}


class ScoreModel(torch.nn.Module):
    """A decoder with a linear head."""

    def __init__(self, config, head, has_bias):
        super().__init__()
        self.config, self.head = config, head
        self.model = AutoModel.from_config(config, attn_implementation="eager")
        self.add_module(head, torch.nn.Linear(config.hidden_size, 1, bias=has_bias))

    def forward(self, ids):
        """The score of one sequence without padding."""
        hidden = self.model(ids, use_cache=False).last_hidden_state
        score = getattr(self, self.head)(hidden)[0, -1, 0]
        if getattr(self.config, "do_normalize", False):
            if self.config.score_type == "reward":
                score = score - self.config.mean[0]
            score = score / (self.config.var[0] ** 0.5 + 1e-8)
        return score


def save_reward(folder, spec, tokenizer):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    end = tokenizer.token_to_id("<|im_end|>")
    if "head" not in spec:
        model = fm.build_model(spec, AutoModelForSequenceClassification)
        model.config.eos_token_id, model.config.pad_token_id = end, spec.get("pad")
        model.save_pretrained(folder)
    else:
        config = fm.build_config(spec)
        config.eos_token_id, config.pad_token_id = end, spec.get("pad")
        config.architectures, config.dtype = [spec["architecture"]], "float32"
        model = fm.fill(ScoreModel(config, spec["head"], spec.get("head_bias", False)), spec)
        config.save_pretrained(folder)
        tensors = {key: value.contiguous() for key, value in model.state_dict().items()}
        if spec["head"] == "score_head":  # buffers of safe-rlhf's normaliser
            options = spec["options"]
            tensors["normalizer.mean"] = torch.tensor(options.get("mean", [0.0]))
            tensors["normalizer.var"] = torch.tensor(options.get("var", [1.0]))
            tensors["normalizer.count"] = torch.tensor([12])
        save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    fm.save_tokenizer(
        tokenizer, folder, spec.get("old_form", False) and "begin_token" not in spec,
        begin_token=spec.get("begin_token"),
    )
    if spec.get("old_form"):
        fm.edit_json(os.path.join(folder, "config.json"), fm.old_config)
    for name in os.listdir(folder):
        os.chmod(os.path.join(folder, name), 0o644)


def load(folder, dtype=torch.float32):
    """From the folder's files."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        architecture = json.load(file)["architectures"][0]
    if architecture.endswith("ForSequenceClassification"):
        return AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=dtype, attn_implementation="eager"
        ).eval()
    tensors = load_file(os.path.join(folder, "model.safetensors"))
    tensors = {key: value for key, value in tensors.items() if not key.startswith("normalizer.")}
    head = "regression_head" if "regression_head.weight" in tensors else "score_head"
    model = ScoreModel(AutoConfig.from_pretrained(folder), head, f"{head}.bias" in tensors)
    model.load_state_dict(tensors)
    return model.to(dtype).eval()


def score(model, ids):
    """The raw score of a sequence of token ids, as a tensor."""
    if isinstance(model, ScoreModel):
        return model(torch.tensor([ids]))
    return model(torch.tensor([ids]), use_cache=False).logits[0, 0]
