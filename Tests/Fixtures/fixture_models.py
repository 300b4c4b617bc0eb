"""Tiny random folders as transformers writes them, and log-probabilities as transformers gives them."""

import json
import os
import shutil

# Before torch is loaded: the same products on every x86-64 CPU.
os.environ.setdefault("MKL_CBWR", "COMPATIBLE")
os.environ.setdefault("ATEN_CPU_CAPABILITY", "default")

import numpy
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils import logging

import fixture_texts

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
logging.disable_progress_bar()

VOCABULARY = 384
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
UNUSED_IDS = 4  # the embedding has rows that the tokenizer lacks, as real models do
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content']"
    " + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def train_tokenizer():
    """A byte-level BPE of Qwen2's form: NFC, its split pattern, 256 bytes, merges, then the special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - UNUSED_IDS - len(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(fixture_texts.TRAINING_TEXTS, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    assert tokenizer.get_vocab_size() == VOCABULARY - UNUSED_IDS
    return tokenizer


def write_json(path, value):
    """Pretty to two levels, one line below that; ASCII, so that no editor changes a text."""

    def lines(item, depth):
        indent = " " * depth
        if depth < 2 and isinstance(item, dict) and item:
            inner = [f'{indent} {json.dumps(key)}: {lines(child, depth + 1)}' for key, child in item.items()]
            return "{\n" + ",\n".join(inner) + f"\n{indent}}}"
        if depth < 2 and isinstance(item, list) and item and isinstance(item[0], (dict, list)):
            return "[\n" + ",\n".join(f"{indent} {json.dumps(child)}" for child in item) + f"\n{indent}]"
        return json.dumps(item, allow_nan=False)

    with open(path, "w", encoding="utf-8") as file:
        file.write(lines(value, 0) + "\n")


def write_jsonl(path, rows):
    """Real text, not escaped: what people's data files look like."""
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def edit_json(path, change):
    with open(path, encoding="utf-8") as file:
        value = json.load(file)
    value = change(value) or value
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def save_tokenizer(tokenizer, folder, old_form, chat_template=False, begin_token=None):
    """tokenizer.json and tokenizer_config.json as transformers 5 writes them, or in the form of Qwen2's release."""
    fast = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(tokenizer.to_str()),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHAT_TEMPLATE if chat_template else None,
    )
    if begin_token:
        fast.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin_token} $A",
            pair=f"{begin_token} $A $B:1",
            special_tokens=[(begin_token, tokenizer.token_to_id(begin_token))],
        )
    fast.save_pretrained(folder)
    if old_form:
        old_tokenizer_files(tokenizer, folder, chat_template)


def old_tokenizer_files(tokenizer, folder, chat_template):
    def change(value):
        value["model"]["merges"] = [" ".join(pair) for pair in value["model"]["merges"]]
        value["post_processor"] = {
            "type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False,
        }

    edit_json(os.path.join(folder, "tokenizer.json"), change)
    special = {
        str(tokenizer.token_to_id(token)): {
            "content": token, "lstrip": False, "normalized": False, "rstrip": False,
            "single_word": False, "special": True,
        }
        for token in SPECIAL_TOKENS
    }
    settings = {
        "add_prefix_space": False,
        "added_tokens_decoder": special,
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 32768,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    if chat_template:
        settings["chat_template"] = CHAT_TEMPLATE
        template_file = os.path.join(folder, "chat_template.jinja")
        if os.path.exists(template_file):
            os.remove(template_file)
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as file:
        file.write(json.dumps(settings, indent=2) + "\n")


SIZES = {"hidden": 32, "feed_forward": 72, "heads": 4, "key_value_heads": 4, "theta": 10000.0, "tied": True}


def build_config(spec):
    """The configuration of a folder.

    `family` is its model_type, `options` what it has beside the sizes, `rope` its rotary embedding.
    """
    sizes = {**SIZES, **spec}
    extra = {"head_dim": sizes["head_size"]} if "head_size" in sizes else {}
    return AutoConfig.for_model(
        sizes.get("family", "qwen2"),
        vocab_size=VOCABULARY,
        hidden_size=sizes["hidden"],
        intermediate_size=sizes["feed_forward"],
        num_hidden_layers=sizes.get("layers", 2),
        num_attention_heads=sizes["heads"],
        num_key_value_heads=sizes["key_value_heads"],
        max_position_embeddings=sizes.get("positions", 1024),
        rms_norm_eps=sizes.get("epsilon", 1e-6),
        rope_parameters={"rope_type": "default", "rope_theta": sizes["theta"], **sizes.get("rope", {})},
        tie_word_embeddings=sizes["tied"],
        initializer_range=0.2,
        pad_token_id=None,  # Phi-3's default is beyond the vocabulary
        **extra,
        **sizes.get("options", {}),
    )


def fill(model, spec):
    """Makes every tensor random and of a size that matters."""
    generator = numpy.random.Generator(numpy.random.PCG64(spec["seed"]))  # same numbers on every CPU
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            noise = torch.from_numpy(generator.standard_normal(tuple(weight.shape))).float()
            if "norm" in name:
                weight.copy_(1 + 0.25 * noise)
            elif name == "lm_head.weight" or (spec.get("tied", SIZES["tied"]) and "embed" in name):
                weight.copy_(spec.get("head_scale", 0.25) * noise)
            else:
                weight.copy_(0.2 * noise)
    return model.to(getattr(torch, spec.get("dtype", "float32"))).eval()


def build_model(spec, kind=AutoModelForCausalLM):
    return fill(kind.from_config(build_config(spec), attn_implementation="eager"), spec)


def save_folder(folder, spec, tokenizer):
    """One model folder; `old_form` writes config.json and the tokenizer as transformers 4.40 did."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    model = build_model(spec)
    model.config.eos_token_id = tokenizer.token_to_id(spec.get("config_end", "<|im_end|>"))
    model.save_pretrained(folder, max_shard_size=spec.get("shard_size", "50GB"))
    old_form = spec.get("old_form", False)
    save_tokenizer(tokenizer, folder, old_form, chat_template=spec.get("chat_template", False))
    if old_form:
        edit_json(os.path.join(folder, "config.json"), old_config)
    ends = [tokenizer.token_to_id(token) for token in spec.get("ends", ["<|im_end|>", "<|endoftext|>"])]
    generation = {
        "bos_token_id": tokenizer.token_to_id("<|endoftext|>"),
        "do_sample": True,
        "eos_token_id": ends if len(ends) > 1 else ends[0],
        "pad_token_id": tokenizer.token_to_id("<|endoftext|>"),
        "repetition_penalty": 1.1,
        "temperature": 0.7,
        "top_k": 20,
        "top_p": 0.8,
        "transformers_version": model.config.to_dict()["transformers_version"],
    }
    with open(os.path.join(folder, "generation_config.json"), "w", encoding="utf-8") as file:
        file.write(json.dumps(generation, indent=2) + "\n")
    for name in os.listdir(folder):
        os.chmod(os.path.join(folder, name), 0o644)


def old_config(value):
    rope = value.pop("rope_parameters")
    value["rope_theta"] = rope.pop("rope_theta")
    rope.pop("partial_rotary_factor", None)
    if rope["rope_type"] != "llama3":
        rope["type"] = rope.pop("rope_type")
    if rope.get("type") == "longrope":
        rope.pop("original_max_position_embeddings")  # stands at the top
    value["rope_scaling"] = None if rope.get("type") == "default" else rope
    if value.get("head_dim") == value["hidden_size"] // value["num_attention_heads"]:
        value.pop("head_dim")
    value["torch_dtype"] = value.pop("dtype")
    value["transformers_version"] = "4.40.0"
    if value["model_type"] == "qwen2" and not value["use_sliding_window"]:
        value["sliding_window"] = 4096
    value.pop("layer_types", None)
    if value.get("pad_token_id") is None and value["model_type"] != "phi3":  # Phi-3's missing one would be 32000
        value.pop("pad_token_id", None)
    return dict(sorted(value.items()))


def load(folder, dtype=torch.float32):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()


def load_tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def end_tokens(folder, tokenizer):
    """The end token that a completion gets, and all at which generation ends."""
    ends = []
    for name in ["generation_config.json", "config.json"]:
        if not os.path.exists(os.path.join(folder, name)):
            continue
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            value = json.load(file).get("eos_token_id")
        ends += value if isinstance(value, list) else [value]
    end = tokenizer.convert_tokens_to_ids(tokenizer.eos_token)
    return end, sorted({end, *ends} - {None})


def completion_ids(tokenizer, text, end):
    """By itself, without special tokens, then the end token, not put twice."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids if ids and ids[-1] == end else ids + [end]


def encode_pair(tokenizer, row, end):
    return {
        "prompt_ids": tokenizer(row["prompt"])["input_ids"],
        "chosen_ids": completion_ids(tokenizer, row["chosen"], end),
        "rejected_ids": completion_ids(tokenizer, row["rejected"], end),
    }


def log_rows(model, prompt_ids, response_ids, temperature=1.0):
    """Log-probabilities of the vocabulary at each response token's place: forward in the model's type, then f64."""
    logits = model(torch.tensor([prompt_ids + response_ids]), use_cache=False).logits[0]
    return (logits[len(prompt_ids) - 1 : -1].double() / temperature).log_softmax(-1)


def token_logps(model, prompt_ids, response_ids, temperature=1.0):
    """Log-probability of each response token."""
    rows = log_rows(model, prompt_ids, response_ids, temperature)
    return rows.gather(1, torch.tensor(response_ids)[:, None])[:, 0]


def logp(model, prompt_ids, response_ids, temperature=1.0):
    """Summed over the response's tokens, its end token included."""
    return token_logps(model, prompt_ids, response_ids, temperature).sum()


def greedy(model, prompt_ids, ends, limit):
    """Token ids, their summed log-probability, and the smallest gap between the two best logits."""
    ids, total, smallest = [], 0.0, float("inf")
    with torch.no_grad():
        while len(ids) < limit and (not ids or ids[-1] not in ends):
            logits = model(torch.tensor([prompt_ids + ids]), use_cache=False).logits[0, -1].double()
            best = logits.topk(2)
            smallest = min(smallest, float(best.values[0] - best.values[1]))
            ids.append(int(best.indices[0]))
            total += float(logits.log_softmax(-1)[ids[-1]])
    return ids, total, smallest
