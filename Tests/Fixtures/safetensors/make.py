"""Writes the fixtures of this folder with safetensors, torch and transformers.

    python make.py                 writes them anew
    python make.py --check FOLDER  compares a folder's numbers with those of f32/, rounded to its type
"""

import math
import pathlib
import sys

import safetensors.torch
import torch
import transformers

here = pathlib.Path(__file__).parent


def numbers() -> dict[str, torch.Tensor]:
    special = [
        0.0, -0.0, 1.0, -1.0, math.nan, math.inf, -math.inf,
        2**-149, 2**-133, 1.5 * 2**-134, 2**-134, 2**-126,  # denormals of f32 and bf16
        2**-24, 2**-25, 1.0001 * 2**-25, 3 * 2**-25, 2**-14,  # denormals of f16
        1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-23, 1 + 2**-9,  # ties of bf16
        1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-11 + 2**-23, 1 + 2**-12,  # ties of f16
        65504.0, 65519.0, -65504.0, 3.14159274,
    ]
    return {
        "special": torch.tensor(special, dtype=torch.float32),
        "counting.weight": torch.arange(60, dtype=torch.float32).reshape(3, 4, 5) * 0.37 - 7,
        "caf\u00e9": torch.tensor([1.0, 2.0]),
        "cafe\u0301": torch.tensor([3.0, 4.0]),
        'quote " back \\ slash': torch.tensor([[5.0]]),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(0.1),
    }


def write() -> None:
    source = numbers()
    for name, dtype in [("f32", torch.float32), ("bf16", torch.bfloat16), ("f16", torch.float16)]:
        rounded = {key: value.to(dtype) for key, value in source.items()}
        if dtype == torch.bfloat16:  # which NaN torch writes depends on the machine
            rounded["special"].view(torch.int16)[4] = 0x7FC0
        for folder, tensors in [
            (name, rounded),
            (name + "-as-f32", {key: value.float() for key, value in rounded.items()}),
        ]:
            if folder == "f32-as-f32":
                continue
            (here / folder).mkdir(exist_ok=True)
            path = here / folder / "model.safetensors"
            safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    (here / "mixed").mkdir(exist_ok=True)
    mixed = {
        "ids": torch.arange(5), "mask": torch.tensor([True, False, True]),
        "bytes": torch.tensor([1, 2, 3], dtype=torch.uint8),
        "double": torch.tensor([0.5], dtype=torch.float64),
        "half": torch.tensor([1.5, -2.5], dtype=torch.bfloat16), "single": torch.tensor([0.1]),
    }
    safetensors.torch.save_file(mixed, here / "mixed" / "model.safetensors")

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=16, hidden_size=8, intermediate_size=12, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=False)
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    for folder, size in [("whole", "1GB"), ("sharded", "1KB")]:
        model.save_pretrained(here / folder, max_shard_size=size)
        for name in ["config.json", "generation_config.json"]:
            (here / folder / name).unlink()


def check(folder: str) -> None:
    found = {}
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        found.update(safetensors.torch.load_file(path))
    expected = safetensors.torch.load_file(here / "f32" / "model.safetensors")
    assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value.to(found[name].dtype), rtol=0, atol=0, equal_nan=True)
    print(f"{folder}: {len(found)} tensors equal")


if len(sys.argv) == 3 and sys.argv[1] == "--check":
    check(sys.argv[2])
else:
    write()
