"""Runs llama.cpp's converter on folders that a `sail` binary exports, and compares the GGUF file. For development.

    python Tests/Fixtures/check_llama_cpp.py --sail .build/release/sail --converter …/convert_hf_to_gguf.py

Needs what the converter imports (gguf, sentencepiece, transformers, torch). Each folder is trained for a step, exported,
converted to f32 and read with `gguf`: names and shapes of the tensors, no `output.weight` where the embedding is tied,
values, and the metadata by which llama.cpp computes. The converter knows a tokenizer by the hash of a text's ids, from a
table of published ones; that one question is answered here. Exit code 1 if anything differs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import check_tools as tools
import fixture_models as fm  # first: it fixes the CPU paths before torch is loaded
import fixture_texts as texts
import numpy
from gguf import GGUFReader
from safetensors.numpy import load_file

MODELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models")
# Not Phi-3: of it the converter wants a SentencePiece `tokenizer.model`, which these folders do not have.
FOLDERS = [
    "gqa-tied", "families/llama", "families/llama3", "families/llama-tied", "families/mistral", "families/qwen3",
]
# What the converter calls the split pattern of the folders' tokenizer.
RUNNER = """
import runpy, sys
converter = sys.argv[1]
sys.path.insert(0, converter.rsplit("/", 1)[0])
sys.path.insert(1, converter.rsplit("/", 1)[0] + "/gguf-py")
import conversion.base
conversion.base.TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
sys.argv = sys.argv[1:]
runpy.run_path(converter, run_name="__main__")
"""
NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.qkv_proj": "attn_qkv",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate_up_proj": "ffn_up",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}


def gguf_name(name):
    stem, kind = name.rsplit(".", 1)
    if stem.startswith("model.layers."):
        _, _, layer, part = stem.split(".", 3)
        return f"blk.{layer}.{NAMES[part]}.{kind}"
    return f"{NAMES[stem]}.{kind}"


def paired(weight, heads):
    """Rows of a head in llama.cpp's order: the two numbers that are rotated together are neighbours."""
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def number(reader, key):
    field = reader.get_field(key)
    return None if field is None else field.contents()


def check_metadata(check, name, reader, config):
    kind = reader.get_field("general.architecture").contents()
    rope = config.get("rope_parameters") or {}
    heads = config["num_attention_heads"]
    expected = {
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "block_count": config["num_hidden_layers"],
        "attention.head_count": heads,
        "attention.head_count_kv": config.get("num_key_value_heads") or heads,
        "rope.freq_base": config.get("rope_theta", rope.get("rope_theta")),
    }
    for key, value in expected.items():
        found = number(reader, f"{kind}.{key}")
        if key == "rope.freq_base" and found is None:
            found = 10000.0  # llama.cpp's default
        check.equal(f"{name} {key}", found, value)
    epsilon = number(reader, f"{kind}.attention.layer_norm_rms_epsilon")
    check.close("epsilon", f"{name} epsilon", epsilon, config["rms_norm_eps"], 1e-6)
    if config.get("head_dim"):
        check.equal(f"{name} key_length", number(reader, f"{kind}.attention.key_length"), config["head_dim"])
    check.equal(f"{name} tokens", len(number(reader, "tokenizer.ggml.tokens")), config["vocab_size"])
    check.equal(f"{name} end token", number(reader, "tokenizer.ggml.eos_token_id"), config["eos_token_id"])
    return kind


def check_file(check, name, folder, path):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    reader = GGUFReader(path)
    kind = check_metadata(check, name, reader, config)
    found = {tensor.name: numpy.asarray(tensor.data) for tensor in reader.tensors}
    has_scaling = "rope_freqs.weight" in found
    scaled = (config.get("rope_scaling") or config.get("rope_parameters") or {}).get("rope_type") == "llama3"
    check.equal(f"{name} rope_freqs.weight", has_scaling, scaled)
    found.pop("rope_freqs.weight", None)
    expected = {}
    for key, value in load_file(os.path.join(folder, "model.safetensors")).items():
        if kind in ("llama", "mistral") and key.rsplit(".", 2)[-2] in ("q_proj", "k_proj"):
            is_query = key.rsplit(".", 2)[-2] == "q_proj"
            value = paired(value, config["num_attention_heads" if is_query else "num_key_value_heads"])
        expected[gguf_name(key)] = value
    check.equal(f"{name} tensors", sorted(found), sorted(expected))
    check.equal(f"{name} output.weight", "output.weight" in found, not config["tie_word_embeddings"])
    for key in sorted(set(found) & set(expected)):
        check.equal(f"{name} {key} shape", found[key].shape, expected[key].shape)
        check.true(f"{name} {key} values", numpy.array_equal(found[key], expected[key]))


def check_folder(sail, converter, name):
    with tempfile.TemporaryDirectory(prefix="sail-gguf-") as work:
        check = tools.Check(sail, work)
        fm.write_jsonl(check.path("train.jsonl"), texts.PAIRS)
        reference = os.path.join(MODELS, "gqa-tied")
        tools.write_run_file(check.path("run.yaml"), os.path.join(MODELS, name), reference, "run", 0.01)
        checkpoint = os.path.join("run", "checkpoints", "step-00000001")
        if tools.train(check, "run.yaml") and check.run("export", checkpoint, "--out", "exported"):
            arguments = [check.path("exported"), "--outtype", "f32", "--outfile", check.path("model.gguf")]
            result = subprocess.run(
                [sys.executable, "-c", RUNNER, os.path.abspath(converter), *arguments], capture_output=True, text=True
            )
            if result.returncode == 0:
                check_file(check, name, check.path("exported"), check.path("model.gguf"))
            else:
                check.fail(f"{name}: the converter ended with {result.returncode}\n{result.stderr[-3000:]}")
        return check.summary(name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sail", required=True, metavar="PATH")
    parser.add_argument("--converter", required=True, metavar="PATH", help="llama.cpp's convert_hf_to_gguf.py")
    parser.add_argument("folders", nargs="*", metavar="NAME", default=FOLDERS, help="folders under models/")
    arguments = parser.parse_args()
    failures = sum(check_folder(arguments.sail, arguments.converter, name) for name in arguments.folders)
    print("all equal" if failures == 0 else f"{failures} failed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
