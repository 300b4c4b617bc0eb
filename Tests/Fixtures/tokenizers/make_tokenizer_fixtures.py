"""Writes the tokenizer fixtures: files, texts, and the ids and texts Hugging Face gives for them.

Needs `transformers` 5 and `tokenizers`; the versions used are in cases.json. Run it in this folder:

    python make_tokenizer_fixtures.py

qwen2.json          a small Qwen2 tokenizer as transformers 5 writes it (merges as pairs)
qwen2-strings.json  the same merges as strings, other post-processor, added tokens of every kind
cases.json          texts, ids and decodings for these files and for variants of them
classes.json        character classes of every code point, and what form C changes

The vocabulary is trained on the text below. Everything is a function of this script's seed.
"""

import json
import random
import tempfile
import unicodedata

import tokenizers
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

TRAINING_TEXT = [
    "The quick brown fox jumps over the lazy dog. It's what they'd said: we'll see, they've gone.",
    "Preferences are learned from pairs of answers; the better answer is chosen, the other one is not.",
    "Die Höhe des Bären über dem Fluß wird größer. Ça va être l'été à Besançon, n'est-ce pas?",
    "El niño comió piñas mañana. Příliš žluťoučký kůň úpěl ďábelské ódy. Zażółć gęślą jaźń.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Быстрая лиса прыгает.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Η γρήγορη αλεπού πηδάει πάνω από το σκυλί.",
    "いろはにほへと ちりぬるを。吾輩は猫である。名前はまだ無い。カタカナとひらがな。",
    "我能吞下玻璃而不伤身体。床前明月光，疑是地上霜。举头望明月，低头思故乡。",
    "다람쥐 헌 쳇바퀴에 타고파. 안녕하세요, 세계! 나는 유리를 먹을 수 있어요.",
    "דג סקרן שט בים מאוכזב ולפתע מצא חברה. نص حكيم له سر قاطع وذو شأن عظيم.",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण। เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "def f(x):\n    if x > 0:\n        return x * 2\n    return -x\n\n\nfor i in range(10):\n\tprint(f(i))\n",
    "{\"key\": [1, 2, 3], \"other\": null}  // comment\r\n#include <stdio.h>\r\nint main(void) { }\r\n",
    "👍🏽 😀😁 👨‍👩‍👧 🇩🇪 ❤️ → ≤ ≠ ∑ € £ 1234567890 3.14159 2024-01-31",
]

FIXED_TEXTS = [
    "", " ", "a", "Hello, world!", "  leading", "trailing  ", "a  b   c    d", "\n", "\n\n\n", " \n ",
    "\r\n", "a\r\nb\r\n\r\nc", "a\rb", "\t\tif (x) {\r\n\t\t\ty();\n\t\t}\n", "x \n\n  y", "x\n \n\t\ny  ",
    "\u3000全角　空白\u3000", "a\u00a0b\u00a0\u00a0c", "\u2028a\u2029\u0085b\u200bc", "\x0b\x0c\x1c\x1f\x00a",
    "caf\u00e9 cafe\u0301", "\u00c5\u212bA\u030a", "\u03ac\u1f71", "\u1e69 s\u0323\u0307 s\u0307\u0323",
    "Ho\u0308he gro\u0308\u00dfer", "\u0958 \u09dc \u0fb2\u0f71\u0f80", "\uf900\uf901 \U0002f800",
    "\ud55c\uae00 \u1112\u1161\u11ab\u1100\u1173\u11af \uac00\u11a8 \u1100\uac00", "\ufb01 \ufb2a \u2126 \u2000\u2001",
    "\u0301abc", "a\u0301\u0301\u0301\u0327\u0323", "\u0344 \u0340", "\u0952\u0f73 \u0301\u0f75\u0f72 \u0952\u0f81\u0323", "q\u0315\U00010f4fq\u0315\u0300", "\U0001d15e \U0001d1bb",
    "日本語とEnglishのmixed text。123個", "我能吞下玻璃", "안녕하세요 세계", "Привет, мир!", "Γειά σου Κόσμε",
    "שלום עולם", "مرحبا بالعالم ١٢٣", "สวัสดีชาวโลก", "नमस्ते दुनिया १२३", "\u0e01\u0e33",
    "👍🏽👨‍👩‍👧‍👦🇩🇪🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "❤️❤ ☺️a️b", "#️⃣1️⃣", "😀x😀 y😀\n😀\r\n\r\nz",
    "it's IT'S It'S 'S 'll 'LL 'Ll 'lL 've 'VE 're 'RE 'd 'D 'm 'M 't 'T",
    "'\u017f '\u017ft he'\u017f 'sure 'tis 'dx '' ''s 'l 'r 'v '", "don\u2019t 's\u0301 '\u212a", "'s's's 'll've",
    "0 12 123 1234 12345 3.14159 1e-6 ½ ² Ⅷ 一二三 ٣٤٥ ①② \U0001d7d8", "x1y22z333", "1 000 000", "1234567890" * 3,
    "!!!\n\n!!! ...\r\n ???", "a!\nb", " !\n a", "( a )", "->->-> => <= != == &&||", "--\n--\r--\n\r\n--  \n",
    "def f(x):\n    return x\n\n\nclass A:\n    pass\n", "print(\"hi\")  # comment\n", "<div class=\"a\">b</div>",
    " " * 50 + "x" + " " * 7, "\n" * 40 + "x", "a" * 60, "ab" * 50, "\t" * 9, " \t" * 9 + "z", "é" * 30,
    "snake_case camelCase kebab-case CONSTANT_CASE", "https://example.org/path?q=1&r=%20#frag", "me@example.org",
    "\ufeffbom", "\ufffd\ufffe\uffff\U0010ffff\U000f0000", "\u00ad\u061c\u200e\u202e", "ß ẞ ſ ŉ ǆ",
    "<|endoftext|>", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "a<|endoftext|>b <|endoftext|> c",
    "<|endoftext|><|endoftext|>", "<|im_start|", "<|im_start|><|im_start", "<|IM_START|>", "e<|im_end|>\u0301",
    "   <|im_end|>   ", "don't<|im_end|>'s",
]

# Texts for the added tokens of qwen2-strings.json.
ADDED_TEXTS = [
    "call <tool> now <tool/> <tool", "<tool>call>", "caf\u00e9 cafe\u0301 xcafe\u0301x", "CAF\u00c9", "e\u0301clair \u00e9clair",
    "a [L] b", "a   [L]   b", "  [L]", "\n\n[L]\n\n", "a [R]   b[R]\n\n c", "a  [LR]  [LR]  b", "[R]  [L]", "[R] [LR] [L]",
    "[R]\n\n[L]x", "word aword worda word_ _word -word- word", "word", "w\u00f6rd word\u0301 \u0301word word\u200dx 1word word1",
    "wordword word word", "ab abc abcd abcde abcab", "[L][R][LR]", "\u212bngstr\u00f6m A\u030angstr\u00f6m \u00c5ngstr\u00f6m",
    "x \u00a0\u3000[LR]\u2028\t y", "<think>\n\nHm.\n</think>\n\n", "\u00e9 e\u0301 \u00ff", "<|endoftext|>  word  <|endoftext|>",
    "k\u212a K", "the fox", "theword the", "  the  the  ", "tool<tool>tool", "\u00c5 \u212b A\u030a",
]

UNICODE_15 = [
    (0x31350, 0x323AF), (0x11F00, 0x11F10), (0x11F12, 0x11F3A), (0x11F3E, 0x11F59), (0x1E4D0, 0x1E4F9),
    (0x10EFD, 0x10EFF), (0x1E030, 0x1E06D), (0x1D2C0, 0x1D2D3), (0x11B00, 0x11B09), (0x1FA75, 0x1FA77),
    (0x0CF3, 0x0CF3), (0x0ECE, 0x0ECE), (0x1F6DC, 0x1F6DC), (0x1FAE8, 0x1FAE8),
]


def trained_model(training_text, size=600):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(training_text, trainer)
    return json.loads(tokenizer.to_str())["model"]


def as_transformers_writes(model):
    merges = [tuple(pair) for pair in model["merges"]]
    tokenizer = transformers.Qwen2Tokenizer(vocab=model["vocab"], merges=merges)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        with open(folder + "/tokenizer.json", encoding="utf-8") as file:
            return json.load(file)


def added(content, id, **flags):
    token = {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": False}
    token.update(flags)
    return token


def with_strings_and_added_tokens(base):
    value = json.loads(json.dumps(base))
    model = value["model"]
    model["merges"] = [" ".join(pair) for pair in model["merges"]]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    value["post_processor"] = byte_level
    value["decoder"] = byte_level
    tokens = [
        ("<|endoftext|>", {"special": True}), ("<|im_start|>", {"special": True}), ("<|im_end|>", {"special": True}),
        ("<tool>", {}), ("<tool>call", {}), ("<think>", {}), ("</think>", {"normalized": True}),
        ("cafe\u0301", {"normalized": True}), ("e\u0301clair", {"normalized": False}), ("\u00ff", {}),
        ("[L]", {"lstrip": True}), ("[R]", {"rstrip": True}), ("[LR]", {"lstrip": True, "rstrip": True, "special": True}),
        ("word", {"single_word": True, "normalized": True}), ("ab", {"normalized": True}), ("abcd", {}), ("abc", {"normalized": True}),
        ("\u212b", {"normalized": True, "special": True}),
    ]
    # A token of the vocabulary may be an added one too: it keeps its id.
    size = len(model["vocab"])
    value["added_tokens"] = [added("\u0120the", model["vocab"]["\u0120the"], normalized=True)]
    following = size
    for content, flags in tokens:
        if content in model["vocab"]:
            value["added_tokens"].insert(0, added(content, model["vocab"][content], **flags))
        else:
            value["added_tokens"].append(added(content, following, **flags))
            following += 1
    return value


def random_texts(count, generator):
    def assigned(code):
        return not 0xD800 <= code < 0xE000 and unicodedata.category(chr(code)) not in ("Cn", "Co")

    everything = [code for code in range(0x110000) if assigned(code)]
    everything += [code for first, last in UNICODE_15 for code in range(first, last + 1)]
    marks = [code for code in everything if unicodedata.category(chr(code)).startswith("M")]
    combining = [code for code in marks if unicodedata.combining(chr(code))]
    decomposing = [code for code in everything if unicodedata.normalize("NFD", chr(code)) != chr(code)]
    small = [code for code in everything if code < 0x3000]
    pools = [
        [ord(c) for c in "abstTSmMdDlLvVeErR'"], [ord(c) for c in " \n\r\t"], [ord(c) for c in ".,;:!?-()<>|_/'\"=+"],
        [ord(c) for c in "0123456789"], [0x20, 0x85, 0xA0, 0x1680, 0x2003, 0x2028, 0x202F, 0x3000, 0x200B, 0xD, 0xA],
        everything, small, marks, combining, decomposing, [code for code in decomposing if not 0xAC00 <= code < 0xD7A4],
        list(range(0x1100, 0x1200)) + list(range(0xAC00, 0xACA0)), [0x27, 0x73, 0x53, 0x17F, 0x212A, 0x74, 0x2019],
    ]
    texts = []
    for _ in range(count):
        chosen = generator.sample(pools, generator.randint(1, 4))
        text = "".join(chr(generator.choice(generator.choice(chosen))) for _ in range(generator.randint(1, 24)))
        if generator.random() < 0.2:
            text = unicodedata.normalize("NFD", text)
        texts.append(text)
    return texts


def cases(value, texts):
    tokenizer = Tokenizer.from_str(json.dumps(value))
    result = []
    for text in texts:
        ids = tokenizer.encode(text).ids
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        case = {"text": text, "ids": ids}
        if plain != ids:
            case["plain"] = plain
        decoded = tokenizer.decode(ids, skip_special_tokens=False)
        skipped = tokenizer.decode(ids)
        if decoded != text:
            case["decoded"] = decoded
        if skipped != decoded:
            case["skipped"] = skipped
        result.append(case)
    return result


def decodings(value, count, generator):
    """Ids in any order: invalid UTF-8 of every kind, and ids that the tokenizer lacks."""
    tokenizer = Tokenizer.from_str(json.dumps(value))
    size = tokenizer.get_vocab_size()
    result = []
    for _ in range(count):
        reach = generator.choice([256, size, size + 20])
        ids = [generator.randrange(reach) for _ in range(generator.randint(0, 12))]
        result.append({"ids": ids, "skipped": tokenizer.decode(ids), "decoded": tokenizer.decode(ids, skip_special_tokens=False)})
    return result


def ranges(codes):
    result = []
    for code in sorted(codes):
        if result and result[-1][1] == code - 1:
            result[-1][1] = code
        else:
            result.append([code, code])
    return result


def classes():
    scalars = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]

    def matching(splitter):
        found = []
        for start in range(0, len(scalars), 4096):
            chunk = scalars[start:start + 4096]
            kept = {c for piece, _ in splitter.pre_tokenize_str("".join(map(chr, chunk))) for c in piece}
            found += [code for code in chunk if chr(code) not in kept]
        return ranges(found)

    def words():
        # The expression \w+|[^\w\s]+ of the Rust crate, which single_word uses too.
        splitter = pre_tokenizers.Whitespace()
        return ranges(code for code in scalars if splitter.pre_tokenize_str("a" + chr(code))[:1] == [("a" + chr(code), (0, 2))])

    form_c = normalizers.NFC()
    changed = [[code, form_c.normalize_str(chr(code))] for code in scalars if form_c.normalize_str(chr(code)) != chr(code)]
    return {
        "letters": matching(pre_tokenizers.Split(Regex(r"\p{L}"), "removed")),
        "numbers": matching(pre_tokenizers.Split(Regex(r"\p{N}"), "removed")),
        "spaces": matching(pre_tokenizers.Split(Regex(r"\s"), "removed")),
        "words": words(),
        "composed": changed,
    }


def variants(base):
    """Other components around the same vocabulary: members to replace, in the file and its model."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    split = base["pre_tokenizer"]["pretokenizers"][0]
    llama3 = dict(split, pattern={"Regex": split["pattern"]["Regex"].replace(r"\p{N}|", r"\p{N}{1,3}|")})
    end = next(token["id"] for token in base["added_tokens"] if token["content"] == "<|im_end|>")
    begin = next(token["id"] for token in base["added_tokens"] if token["content"] == "<|im_start|>")
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "B", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                   {"SpecialToken": {"id": "E", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"B": {"id": "B", "ids": [begin], "tokens": ["<|im_start|>"]},
                           "E": {"id": "E", "ids": [end, end], "tokens": ["<|im_end|>", "<|im_end|>"]}},
    }
    return {
        "gpt2": {"file": {"normalizer": None, "pre_tokenizer": byte_level, "post_processor": None}, "model": {}},
        "whole": {"file": {"pre_tokenizer": dict(byte_level, use_regex=False)}, "model": {"ignore_merges": True}},
        "llama3": {
            "file": {
                "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]},
                "pre_tokenizer": {"type": "Sequence", "pretokenizers": [llama3, dict(byte_level, use_regex=False)]},
                "post_processor": {"type": "Sequence", "processors": [byte_level, template]},
            },
            "model": {"ignore_merges": True},
        },
        # A vocabulary without its last merges and one byte: that byte is left out of the ids.
        "gap": {"file": {}, "model": {"vocab": None, "merges": None}},
    }


def apply(base, change):
    value = json.loads(json.dumps(base))
    value.update(change["file"])
    if "vocab" in change["model"]:
        vocab = {token: id for token, id in base["model"]["vocab"].items() if id < 256 and token != "b"}
        vocab["ac"] = base["model"]["vocab"]["b"]
        change["model"] = {"vocab": vocab, "merges": [["a", "c"]]}
        change["file"] = {"added_tokens": []}
        value["added_tokens"] = []
    value["model"].update(change["model"])
    return value


def main():
    generator = random.Random(20240611)
    base = as_transformers_writes(trained_model(TRAINING_TEXT))
    strings = with_strings_and_added_tokens(base)
    texts = FIXED_TEXTS + TRAINING_TEXT
    result = {
        "versions": {"tokenizers": tokenizers.__version__, "transformers": transformers.__version__},
        "sets": [
            {"file": "qwen2.json", "cases": cases(base, texts + random_texts(400, generator)),
             "decodings": decodings(base, 120, generator)},
            {"file": "qwen2-strings.json", "cases": cases(strings, FIXED_TEXTS[::3] + ADDED_TEXTS),
             "decodings": decodings(strings, 60, generator)},
        ],
    }
    for name, change in variants(base).items():
        value = apply(base, change)
        chosen = FIXED_TEXTS + random_texts(40, generator) if name != "gap" else ["abc", "acb", "b", "abcabc bac"]
        result["sets"].append({"file": "qwen2.json", "name": name, "change": change,
                               "cases": cases(value, chosen), "decodings": []})
    for name, value, indent in [("qwen2.json", base, 1), ("qwen2-strings.json", strings, 1),
                                ("cases.json", result, None), ("classes.json", classes(), None)]:
        with open(name, "w", encoding="utf-8", newline="\n") as file:
            json.dump(value, file, ensure_ascii=True, indent=indent,
                      separators=(",", ":") if indent is None else None)
            file.write("\n")


if __name__ == "__main__":
    main()
