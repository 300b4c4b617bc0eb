"""A model folder with random weights: configuration, tokenizer and safetensors as Hugging Face lays them out.

Sail and its peers load the same folder. Its tokenizer has as many entries and merges as the vocabulary wants, but no merge
touches a lower-case letter: in the harness's texts every character is one token, so lengths are exact.
"""

import itertools
import json
import random
import shutil
import string
from pathlib import Path

# Published Qwen vocabularies end in so many ids that no token has: 151936 − 151643.
UNUSED_IDS = 293
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TINY = {
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 1024,
}
NORM_ONE = b"\x80\x3f"  # 1 in bf16


def read_config(path: Path, is_tiny: bool) -> dict:
    """A Qwen2 configuration file; the same architecture with `TINY` sizes if asked."""
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("model_type") != "qwen2":
        raise ValueError(f"{path}: expected model_type qwen2, found {config.get('model_type')}")
    if is_tiny:
        config.update(TINY)
    end = config["vocab_size"] - UNUSED_IDS
    config.update(bos_token_id=end, eos_token_id=end)
    return config


def byte_symbols() -> list[str]:
    """The printable stand-ins of the 256 bytes of byte-level BPE, in the order of GPT-2's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


def tokenizer(vocabulary_size: int) -> dict:
    """tokenizer.json: 256 bytes, then strings of capitals, each merged from the one before it and a letter."""
    symbols = byte_symbols()
    count = vocabulary_size - UNUSED_IDS - len(symbols)
    if count < 0:
        raise ValueError(f"a vocabulary of {vocabulary_size} is too small: at least {UNUSED_IDS + len(symbols)}")
    capitals = string.ascii_uppercase
    words = ("".join(word) for size in itertools.count(2) for word in itertools.product(capitals, repeat=size))
    merged = list(itertools.islice(words, count))
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": QWEN_SPLIT}, "behavior": "Isolated", "invert": False}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    first_special = vocabulary_size - UNUSED_IDS
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": first_special + index, "content": token, **flags} for index, token in enumerate(SPECIAL_TOKENS)
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": None,
        "decoder": {**byte_level, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(symbols + merged)},
            "merges": [[word[:-1], word[-1]] for word in merged],
        },
    }


def tensors(config: dict) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a tied Qwen2 model's weights."""
    hidden, feed_forward = config["hidden_size"], config["intermediate_size"]
    keys = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        for name, rows in [("q_proj", hidden), ("k_proj", keys), ("v_proj", keys)]:
            shapes[f"{prefix}self_attn.{name}.weight"] = (rows, hidden)
            shapes[f"{prefix}self_attn.{name}.bias"] = (rows,)
        shapes[f"{prefix}self_attn.o_proj.weight"] = (hidden, hidden)
        for name in ["gate_proj", "up_proj"]:
            shapes[f"{prefix}mlp.{name}.weight"] = (feed_forward, hidden)
        shapes[f"{prefix}mlp.down_proj.weight"] = (hidden, feed_forward)
        shapes[f"{prefix}input_layernorm.weight"] = (hidden,)
        shapes[f"{prefix}post_attention_layernorm.weight"] = (hidden,)
    shapes["model.norm.weight"] = (hidden,)
    return shapes


def element_count(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def body_parameters(config: dict) -> int:
    """Elements of the weight matrices of all layers: what a token is multiplied with outside the head."""
    return sum(
        element_count(shape)
        for name, shape in tensors(config).items()
        if len(shape) == 2 and name.startswith("model.layers.")
    )


def random_numbers(count: int, source: random.Random) -> bytes:
    """bf16 numbers of either sign between 2⁻⁷ and 2⁻⁵ (standard deviation 0.019), little endian.

    A bf16 number's high byte is its sign and seven bits of the exponent; any low byte then stays in two octaves.
    """
    signs = bytes([0x3C] * 128 + [0xBC] * 128)
    numbers = bytearray(2 * count)
    numbers[0::2] = source.randbytes(count)
    numbers[1::2] = source.randbytes(count).translate(signs)
    return bytes(numbers)


def write_weights(config: dict, path: Path) -> None:
    source = random.Random(1)
    header: dict[str, dict] = {}
    offset = 0
    shapes = tensors(config)
    for name, shape in shapes.items():
        end = offset + 2 * element_count(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name, shape in shapes.items():
            count = element_count(shape)
            if len(shape) == 2:
                file.write(random_numbers(count, source))
            else:
                file.write((b"\0\0" if name.endswith(".bias") else NORM_ONE) * count)


def make_model_folder(config: dict, folder: Path) -> None:
    """Writes the folder unless a whole one of this configuration is there."""
    config_text = json.dumps(config, indent=2)
    if (folder / "config.json").is_file() and (folder / "config.json").read_text(encoding="utf-8") == config_text:
        return
    unfinished = folder.with_name(folder.name + ".unfinished")
    for old in [folder, unfinished]:
        shutil.rmtree(old, ignore_errors=True)
    unfinished.mkdir(parents=True)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": SPECIAL_TOKENS[0],
        "pad_token": SPECIAL_TOKENS[0],
    }
    vocabulary = tokenizer(config["vocab_size"])
    (unfinished / "tokenizer.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (unfinished / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
    write_weights(config, unfinished / "model.safetensors")
    (unfinished / "config.json").write_text(config_text, encoding="utf-8")
    unfinished.rename(folder)
