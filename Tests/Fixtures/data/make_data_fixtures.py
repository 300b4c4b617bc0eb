"""Rows of TRL's data forms with what trl.data_utils makes of them.

    python make_data_fixtures.py          (packages: ../requirements.txt)

Writes trl.json: "extracted" holds rows without a prompt of their own and TRL's extract_prompt of
them; "rendered" holds conversational rows and TRL's maybe_apply_chat_template of them with the chat
template of ../models/gqa-tied, with the token ids of each text, no special tokens added.
"""

import json
import pathlib

from transformers import AutoTokenizer
from trl.data_utils import extract_prompt, is_conversational, maybe_apply_chat_template
from trl.data_utils import maybe_extract_prompt

HERE = pathlib.Path(__file__).parent


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


STRINGS = [
    ("The sky is blue.", "The sky is green."),
    ("The sky is", "The sky was"),
    ("Human: hi\n\nAssistant: yes", "Human: hi\n\nAssistant: no"),
    ("a b", "a c"),
    ("same beginning", "same beginning and more"),
    ("equal", "equal"),
    ("na\u00efve caf\u00e9 \U0001f600 one", "na\u00efve caf\u00e9 \U0001f600 two"),
    # One letter in two parts against the composed letter: other code points.
    ("cafe\u0301 x", "caf\u00e9 x"),
    ("two  spaces x", "two  spaces y"),
    ("line\nA", "line\nB"),
]

CONVERSATIONS = [
    ([user("What color is the sky?"), assistant("It is blue.")],
     [user("What color is the sky?"), assistant("It is green.")]),
    ([user("a"), assistant("b"), user("c"), assistant("d")],
     [user("a"), assistant("b"), user("c"), assistant("e")]),
    ([user("a"), assistant("b")], [user("a"), assistant("b")]),
    ([{"role": "system", "content": "Be kind."}, user("a \u00e9"), assistant("")],
     [{"role": "system", "content": "Be kind."}, user("a \u00e9"), assistant(" x\n")]),
]


def main():
    tokenizer = AutoTokenizer.from_pretrained(HERE.parent / "models" / "gqa-tied")

    extracted = []
    for chosen, rejected in STRINGS + CONVERSATIONS:
        row = {"chosen": chosen, "rejected": rejected}
        extracted.append({"row": row, "expected": extract_prompt(row)})

    rows = [maybe_extract_prompt({"chosen": c, "rejected": r}) for c, r in CONVERSATIONS]
    # UltraFeedback binarized: a string beside conversations that repeat it.
    rows += [maybe_extract_prompt({"prompt": "What color is the sky?", "chosen": CONVERSATIONS[0][0],
                                   "rejected": CONVERSATIONS[0][1]})]
    rows += [
        {"prompt": [user("One?")], "completion": [assistant("Two.")]},
        {"prompt": [user("One?"), assistant("Two."), user("Three?")]},
    ]
    rendered = []
    for row in rows:
        assert is_conversational(row)
        texts = maybe_apply_chat_template(row, tokenizer)
        ids = {key: tokenizer(text, add_special_tokens=False)["input_ids"]
               for key, text in texts.items()}
        rendered.append({"row": row, "texts": texts, "ids": ids})

    with open(HERE / "trl.json", "w") as file:
        json.dump({"extracted": extracted, "rendered": rendered}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
