"""Writes llama.json, bytes.json and kinds.json: tokenizers of every supported kind, texts, and what Hugging Face makes of them.

Needs what make_tokenizer_fixtures.py needs, which it takes texts from. Run it in this folder:

    python make_kind_fixtures.py

With a seed it writes qwen2.json, llama.json and kinds.json of freshly trained vocabularies and random texts
to another folder, for a check beyond the committed files (the test reads the folder's name from the environment):

    python make_kind_fixtures.py --seed 123 --count 10000 --out /tmp/kinds
    SAIL_TOKENIZER_FIXTURES=/tmp/kinds swift test … --filter TokenizerKindTests
"""

import argparse
import json
import os
import random

import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from make_tokenizer_fixtures import (
    ADDED_TEXTS, FIXED_TEXTS, TRAINING_TEXT, added, as_transformers_writes, cases, decodings, random_texts, trained_model)

HERE = os.path.dirname(os.path.abspath(__file__))
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
PREPEND = {"type": "Prepend", "prepend": "▁"}


def sentencepiece_base(training_text, size):
    """Llama 2's form: vocabulary with bytes, Prepend and Replace, no pre-tokenizer."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<unk>", "<s>", "</s>"] + BYTES, limit_alphabet=150, max_token_length=12,
        show_progress=False)
    tokenizer.train_from_iterator(training_text, trainer)
    value = json.loads(tokenizer.to_str())
    value["normalizer"] = {"type": "Sequence", "normalizers": [PREPEND, REPLACE]}
    value["pre_tokenizer"] = None
    value["decoder"] = sequence_decoder()
    value["post_processor"] = template("<s>", 1)
    value["added_tokens"] = [added(token, id, special=True) for id, token in enumerate(["<unk>", "<s>", "</s>"])]
    value["model"]["merges"] = [" ".join(pair) for pair in value["model"]["merges"]]
    return value


def bytes_base(llama):
    """Merges of byte tokens, of the unknown token, and of characters that spell a byte token."""
    merges = [("<0xF0>", "<0x9F>"), ("a", "<0xC3>"), ("<0xA9>", "b"), ("<", "0"), ("<0", "x"), ("<0x", "0"), ("<0x0", "A"),
              ("<0x0A", ">"), ("<0x0A>", "b"), ("<unk>", "a"), ("b", "<unk>"), ("<0xF0><0x9F>", "<0x98>"), ("▁", "<0xE3>")]
    tokens = ["<unk>", "<s>", "</s>"] + BYTES + list("▁ab<0xA>") + ["".join(pair) for pair in merges]
    value = json.loads(json.dumps(llama))
    value["model"]["vocab"] = {token: id for id, token in enumerate(dict.fromkeys(tokens))}
    value["model"]["merges"] = merges
    return value


def sequence_decoder(strip=1):
    return {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": strip, "stop": 0}]}


def template(token, id):
    piece = {"SpecialToken": {"id": token, "type_id": 0}}
    return {"type": "TemplateProcessing", "single": [piece, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [piece, {"Sequence": {"id": "A", "type_id": 0}}, piece, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}}}


def metaspace(**settings):
    return dict({"type": "Metaspace", "replacement": "▁"}, **settings)


def byte_level(**settings):
    return dict({"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}, **settings)


def split(expression):
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}


def every_flag(value, taken):
    """Added tokens with each of the flags, after those that the file has."""
    following = max(list(value["model"]["vocab"].values()) + [token["id"] for token in value["added_tokens"]]) + 1
    tokens = [
        ("<|end|>", {"special": True}), ("<|user|>", {"special": True, "rstrip": True}), ("[L]", {"lstrip": True}),
        ("[LR]", {"lstrip": True, "rstrip": True, "special": True}), ("word", {"single_word": True}),
        ("fox", {"normalized": True}), ("a b", {"normalized": True}), ("<tool>", {"normalized": True, "special": True}),
        ("caf\u00e9", {"normalized": True, "rstrip": True}),
    ]
    result = list(value["added_tokens"])
    for content, flags in tokens:
        if content not in value["model"]["vocab"] and content not in taken:
            result.append(added(content, following, **flags))
            following += 1
    return result


def kinds(qwen2, llama):
    """Names of kinds, with the file that each changes and the members it replaces there."""
    gpt2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    qwen2_split = qwen2["pre_tokenizer"]["pretokenizers"][0]
    llama3 = split(qwen2_split["pattern"]["Regex"].replace(r"\p{N}|", r"\p{N}{1,3}|"))
    end = qwen2["added_tokens"][0]
    plain = byte_level(use_regex=False)
    llama_tokens = every_flag(llama, [])
    nothing = {"normalizer": None, "post_processor": None}
    space = dict(nothing, decoder=metaspace())
    result = [
        ("llama3", "qwen2.json", {
            "normalizer": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [llama3, plain]},
            "post_processor": {"type": "Sequence", "processors": [byte_level(), template(end["content"], end["id"])]},
        }, {"ignore_merges": True}),
        ("gpt2", "qwen2.json", dict(nothing, pre_tokenizer=byte_level(), added_tokens=every_flag(qwen2, [])), {}),
        ("gpt2 with a space", "qwen2.json", dict(nothing, pre_tokenizer=byte_level(add_prefix_space=True)), {}),
        ("gpt2 written out", "qwen2.json", dict(nothing, pre_tokenizer={
            "type": "Sequence", "pretokenizers": [split(gpt2), plain]}), {}),
        ("words with spaces", "qwen2.json", dict(nothing, pre_tokenizer={
            "type": "Sequence", "pretokenizers": [qwen2_split, dict(plain, add_prefix_space=True)]}), {}),
        ("llama2", "llama.json", {}, {}),
        ("mistral", "llama.json", {"added_tokens": llama_tokens}, {"fuse_unk": False}),
        ("phi3", "llama.json", {
            "added_tokens": llama["added_tokens"][:2] + [dict(llama["added_tokens"][2], rstrip=True, special=False)]
                            + llama_tokens[3:],
            "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}],
                               "pair": [], "special_tokens": {}}}, {}),
        ("composed", "llama.json", {"added_tokens": llama_tokens, "normalizer": {
            "type": "Sequence", "normalizers": [{"type": "NFC"}, REPLACE, PREPEND]}, "decoder": sequence_decoder(3)},
         {"ignore_merges": True}),
        ("replaced", "llama.json", {"normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Replace", "pattern": {"String": "  "}, "content": ""}, REPLACE,
            {"type": "Replace", "pattern": {"String": "aa"}, "content": "a"}]}}, {}),
        ("unknown", "llama.json", {}, {"byte_fallback": False, "fuse_unk": False}),
        ("unknown in a row", "llama.json", {}, {"byte_fallback": False}),
        ("nothing unknown", "llama.json", {}, {"byte_fallback": False, "unk_token": None}),
        ("metaspace and a split", "llama.json", dict(space, pre_tokenizer={
            "type": "Sequence", "pretokenizers": [split(gpt2), metaspace(prepend_scheme="first")]}), {}),
        ("metaspace of old", "llama.json", dict(
            space, pre_tokenizer=metaspace(add_prefix_space=True), decoder=metaspace(add_prefix_space=True)), {}),
    ]
    # Few bytes have tokens, some tokens only look like bytes', and no merge makes the longest ones.
    few = ["<unk>", "<s>", "</s>", "a", "b", "▁", "<0xC3>", "<0xA9>", "<0x-0>", "<0x+5>", "<0xZZ>", "▁ab", "▁aé", "<0xc3>"]
    few = {"vocab": {token: id for id, token in enumerate(few)}, "merges": []}
    for fuse in [True, False]:
        result.append((f"few bytes {fuse}", "bytes.json", {}, dict(few, fuse_unk=fuse)))
    result.append(("whole words", "bytes.json", {}, dict(few, ignore_merges=True)))
    for scheme in ["first", "always"]:
        # As transformers 5 writes Llama's.
        result.append((f"llama {scheme}", "llama.json", {
            "normalizer": None, "pre_tokenizer": metaspace(prepend_scheme=scheme, split=False),
            "added_tokens": llama_tokens}, {"unk_token": None}))
    result.append(("merged bytes", "bytes.json", {}, {}))
    result.append(("merged unknown", "bytes.json", {}, {"byte_fallback": False}))
    result.append(("merged unknowns", "bytes.json", {}, {"byte_fallback": False, "fuse_unk": False}))
    for scheme in ["first", "always", "never"]:
        for splits in [True, False]:
            settings = {"prepend_scheme": scheme, "split": splits}
            result.append((f"metaspace {scheme} {splits}", "llama.json", dict(
                space, pre_tokenizer=metaspace(**settings), decoder=metaspace(**settings), added_tokens=llama_tokens), {}))
    return result


def apply(base, file, model):
    value = json.loads(json.dumps(base))
    value.update(file)
    value["model"].update(model)
    return value


def texts(count, generator):
    """Random texts, with added tokens and what looks like tokens inside."""
    inside = ["<|end|>", "<|user|>", " <|user|>  ", "[L]", "  [L] ", "[LR]", " [LR] ", "word", " word ", "words", "fox", "a b",
              "<tool>", "▁", "▁▁", " ▁", "<0x0A>", "<s>", "</s>", "<unk>", "  ", "   ", "the ", " quick", "caf\u00e9 ",
              "cafe\u0301", "\n", "aé", "éb", "\U0001f601a", "<0x0A>b", "b\u3042", "a\u3042a", " \u3042", "\u3042é", "ab", "aé", "<|endoftext|>", "\ud7a3", "<0x", "\U0001f600", "aaa", "'s", "12345", "\t"]
    result = []
    for text in random_texts(count, generator):
        for _ in range(generator.choice([0, 0, 1, 1, 2, 5])):
            place = generator.randint(0, len(text))
            text = text[:place] + generator.choice(inside) + text[place:]
        result.append(text)
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--out", default=HERE)
    options = parser.parse_args()
    generator = random.Random(20240612 if options.seed is None else options.seed)
    fixed = FIXED_TEXTS[4::25] + ADDED_TEXTS[::9] + ["ab", "a\u00e9"]
    if options.seed is None:
        with open(os.path.join(HERE, "qwen2.json"), encoding="utf-8") as file:
            qwen2 = json.load(file)
        # Training is not the same each time, so a file that is there stays.
        llama = sentencepiece_base(TRAINING_TEXT, 700)
        if os.path.exists(os.path.join(HERE, "llama.json")):
            with open(os.path.join(HERE, "llama.json"), encoding="utf-8") as file:
                llama = json.load(file)
    else:
        # Other texts, so other merges: words of the fixed texts and random ones, in another order.
        words = [word for text in FIXED_TEXTS + TRAINING_TEXT + random_texts(300, generator) for word in text.split(" ")]
        training_text = [" ".join(generator.choice(words) for _ in range(30)) for _ in range(400)]
        fixed = FIXED_TEXTS + ADDED_TEXTS + ["ab", "a\u00e9"]
        qwen2 = as_transformers_writes(trained_model(training_text, generator.randint(400, 2000)))
        llama = sentencepiece_base(training_text, generator.randint(600, 2500))
    bases = {"qwen2.json": qwen2, "llama.json": llama, "bytes.json": bytes_base(llama)}
    sets = []
    if options.seed is not None:
        sets.append({"file": "qwen2.json", "name": "qwen2", "cases": cases(qwen2, fixed + texts(options.count, generator)),
                     "decodings": decodings(qwen2, options.count // 10, generator)})
    for name, base, file, model in kinds(qwen2, llama):
        value = apply(bases[base], file, model)
        sets.append({"file": base, "name": name, "change": {"file": file, "model": model},
                     "cases": cases(value, fixed + texts(options.count, generator)),
                     "decodings": decodings(value, max(5, options.count // 10), generator)})
    os.makedirs(options.out, exist_ok=True)
    files = [("llama.json", llama), ("bytes.json", bases["bytes.json"]), ("kinds.json", {"versions": {"tokenizers": tokenizers.__version__}, "sets": sets})]
    if options.seed is not None:
        files.append(("qwen2.json", qwen2))
    for name, value in files:
        with open(os.path.join(options.out, name), "w", encoding="utf-8", newline="\n") as file:
            json.dump(value, file, ensure_ascii=True, separators=(",", ":"))
            file.write("\n")


if __name__ == "__main__":
    main()
