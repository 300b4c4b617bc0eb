"""Texts of the fixtures: what the tokenizer is trained on, the pairs, prompts and tokenizer cases."""

# Sentences for the byte-level BPE: English, code, accents, Greek, Cyrillic, CJK, runs of spaces.
TRAINING_TEXTS = [
    "The quick brown fox jumps over the lazy dog, and then the dog sleeps.",
    "Which answer is better? The first answer is better than the second answer.",
    "I'm sure that it's what they've asked for; we'll see, and you'd agree.",
    "def add(first, second):\n    return first + second\n\n\nprint(add(1, 2))\n",
    "for index in range(10):\n    if index % 2 == 0:\n        print(index)\n",
    "L'élève a déjà mangé près de la forêt où l'été est très chaud.",
    "Größere Straßen führen über die schöne Brücke nach Köln.",
    "Καλημέρα κόσμε, πώς είσαι σήμερα;",
    "Добрый день, как у вас дела сегодня?",
    "你好，世界。今天天气很好，我们去公园。",
    "東京は日本の首都です。今日は天気がいいですね。",
    "안녕하세요, 오늘은 날씨가 좋습니다.",
    "Say it again: the answer, the question, the answer, the question. 12 34 567 890",
]

# Eight preference rows: accents, CJK, emoji, combining marks, code, runs of spaces and newlines;
# prompts from one token, completions from one token (and the end token) to about eighty.
PAIRS = [
    {
        "prompt": "Which answer is better?",
        "chosen": " The first answer, I'm sure.",
        "rejected": " It's the second one; they've said so.",
    },
    {"prompt": "?", "chosen": "a", "rejected": " No."},
    {
        "prompt": "Où est l'élève après l'été ? Größe: ",
        "chosen": "Près de la forêt, où il fait très chaud.",
        "rejected": "Ça… naïve façade, coöperate, Ångström, ÿ!",
    },
    {
        "prompt": "今天天气怎么样？ 今日の天気は？ 오늘 날씨는?",
        "chosen": "今天天气很好，我们去公园。",
        "rejected": "天気がいいですね。좋습니다!",
    },
    {
        "prompt": "Emoji 👋🏽, a family 👨‍👩‍👧‍👦 and a flag 🇫🇷: ",
        "chosen": "🎉🎉 great ✨",
        "rejected": "no ☹️",
    },
    {
        # The same words composed and decomposed: the tokenizer's NFC makes them equal where it can.
        "prompt": "cafe\u0301 and caf\u00e9; q\u0323\u0307 and q\u0307\u0323; \u1100\u1161\u11a8: ",
        "chosen": "e\u0301 = \u00e9, n\u0303 = \u00f1, \u0928\u093f \u0c15\u0c4d",
        "rejected": "x\u0302\u0303\u0304 \u212b \ufb01",
    },
    {
        "prompt": "def add(first, second):\n    return",
        "chosen": " first + second\n\n\nprint(add(1, 2))\n\tif x != 0:\n\t\tx <<= 2  # 1234567\n",
        "rejected": " {'a': [1, 2], \"b\": f'{x:>8.3f}'} // ~/.config && ls -la | grep \\n",
    },
    {
        "prompt": "Keep    every   space,\n\n\n  and\t\ttab \r\n and line:   ",
        "chosen": "    four\n\n\n\n  two   three \n \n\t\n   end   ",
        "rejected": "\n\n   \n x  \u00a0 \u3000 y\r\n\r\n",
    },
]

LONG_PARAGRAPH = (
    "The answer to the question is that the quick brown fox sleeps. Then the dog asks again: "
    "which one is better, and for whom? Καλημέρα, 你好, été. "
)

# Rows for attention over several tiles, and for a completion that already has its end token.
LONG_ROWS = [
    {
        "prompt": LONG_PARAGRAPH,
        "chosen": LONG_PARAGRAPH * 3 + "Say it again, 12 34 567.",
        "rejected": "It's over." + LONG_PARAGRAPH[10:],
    },
    {"prompt": "Say it again:", "chosen": " the answer<|im_end|>", "rejected": " the<|im_end|> dog"},
]

# Candidates; the script keeps those whose two best logits are never close.
GREEDY_PROMPTS = [
    "The quick brown fox", "Which answer is better?", "?", "def add(first, second):\n    return",
    "今天天气", "L'été", "🎉", "Say it again:  ", "cafe\u0301", "print(", "12 34", "Καλημέρα",
    "Добрый день", "it's", "\n\n", "for index in", "The dog sleeps", "東京は", "안녕", "Köln",
    "the question, the", "jumps over", "I'm sure", "return first", "We'll see", "better", "lazy dog",
    "schöne", "公園", "if index % 2 == 0:", "again", "answer", "brown", "first", "second", "sleeps",
]

STEP_PROMPTS = ["Which answer is better?", "今天天气怎么样？", "def add(", "L'été est "]

# Text alone against token ids.
TOKENIZER_TEXTS = [
    "", " ", "  ", "a", " a", "  a", "   a  ", "\n", "\n\n\n", " \n \n", "\t\tx", "\r\n", "a\r\nb\rc",
    "I'm, you're, they've, we'll, he'd, it's, can't", "I'M YOU'RE THEY'VE", "'sa 'lla 'tx ''s",
    "it\u2019s", "'\u017f and '\u017fx", "don't--stop", "x'y'z", "1234567890", "3.14159e-10", "v2.0.1",
    "\u0661\u0662\u0663 \u2167 \u00bd \u00b2", "Hello, World!  How   are you?\n\n  Fine.",
    "L'élève a déjà mangé.", "e\u0301 \u00e9 E\u0301", "A\u030a \u00c5 \u212b", "o\u0302\u0323 \u1ed9 o\u0323\u0302",
    "\u1100\u1161\u11a8 \uac01", "\u0958 \u0915\u093c", "\u2126 \u2460 \ufb01 \uff21",
    "क्षत्रिय नमस्ते", "ภาษาไทย", "שָׁלוֹם", "السلام عليكم", "Tiếng Việt", "Ελληνικά", "Русский",
    "你好，世界。", "東京タワー", "한국어 \u1112\u1161\u11ab", "\U00020000\U0002a6d6", "👋🏽", "👨‍👩‍👧‍👦",
    "🇫🇷🇩🇪", "☹️ ☹", "\u200b\u200d\ufeff", "a\u00a0b\u3000c\u2003d", "a\u0085b\u2028c\u2029d", "x\u0000y\u0001\u007f",
    "def f(x):\n    return x ** 2  # square\n\n\nclass A:\n\tpass\n", "a=b==c!=d<=e&&f||g", "{}[]()<>;:",
    "// comment\n/* block */", "https://example.org/a?b=c&d=%20", "      six", "end   ", "  \n  \n  x",
    "\n  x\n", "!!!\n\n", " !?\r\n\r\n x", "$$ ~~~ ^^^", "<|im_start|>user\nhi<|im_end|>\n", "<|endoftext|>",
    "a <|im_end|> b", "<|im_end", "<|IM_END|>", "<|im_end|><|im_end|>", "e<|im_end|>\u0301",
    "\u0301", "the\u0301 theë", "\ufffd", "\U0001f1eb", "\ud7a3\u11a8", "\u0344 \u0958\u0301",
]

CONVERSATIONS = [
    [{"role": "user", "content": "Which answer is better?"}],
    [
        {"role": "system", "content": "Say it  again."},
        {"role": "user", "content": " été?\n"},
        {"role": "assistant", "content": "你好 "},
        {"role": "user", "content": "🎉"},
    ],
]
