"""LoRA adapters as peft writes them: random A and B, so that each changes what its base answers."""

import json
import os
import shutil

import fixture_models as fm  # first: it fixes the CPU paths before torch is loaded
import numpy
import torch
from peft import LoraConfig, PeftModel, get_peft_model

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]


def save_adapter(folder, base, spec):
    """An adapter of a base folder; `base_model_name_or_path` is the path as given."""
    shutil.rmtree(folder, ignore_errors=True)
    config = LoraConfig(
        r=spec.get("rank", 4),
        lora_alpha=spec.get("alpha", 8),
        target_modules=spec["targets"],
        use_rslora=spec.get("rslora", False),
        lora_dropout=spec.get("dropout", 0.0),
        bias="none",
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
    )
    model = get_peft_model(fm.load(base), config)
    generator = numpy.random.Generator(numpy.random.PCG64(spec["seed"]))
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if "lora_" in name:
                weight.copy_(0.2 * torch.from_numpy(generator.standard_normal(tuple(weight.shape))).float())
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, "README.md"))
    # A set, written in another order by every process.
    fm.edit_json(
        os.path.join(folder, "adapter_config.json"), lambda value: value["target_modules"].sort()
    )
    for name in os.listdir(folder):
        os.chmod(os.path.join(folder, name), 0o644)


def base_of(folder):
    with open(os.path.join(folder, "adapter_config.json"), encoding="utf-8") as file:
        return json.load(file)["base_model_name_or_path"]


def load(folder, dtype=torch.float32, base=None):
    """The base with the adapter on it; only the adapter is trained."""
    model = PeftModel.from_pretrained(fm.load(base or base_of(folder), dtype), folder, is_trainable=True)
    return model.to(dtype).eval()


def merged(folder, dtype=torch.float32, base=None):
    return load(folder, dtype, base).merge_and_unload()
