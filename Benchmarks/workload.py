"""What is computed: numbers of tokens and rows, the texts that have them, and a step's model FLOPs."""

import json
import random
import string
from dataclasses import dataclass
from pathlib import Path

from model_folder import body_parameters

ROWS_IN_FILE = 16  # four steps; then they come again


@dataclass(frozen=True)
class Workload:
    """Lengths in tokens. A response's last token is the end token, except where it was generated."""

    step_pairs: int = 4
    step_prompt: int = 125
    step_response: int = 135
    prompt: int = 512
    decode_prompt: int = 64
    decode_new: int = 32
    decode_rows: tuple[int, ...] = (1, 8, 32)
    online_prompt: int = 64
    online_new: int = 64

    def training_flops(self, config: dict, is_reference_cached: bool) -> int:
        """Model FLOPs of a step of whole pairs, attention and recomputation not counted.

        (2 · body · tokens computed once + 2 · head · completion tokens) × (3, + 1 for the reference's forward). A
        prompt counts once a pair; a response's last token is predicted but not computed.
        """
        tokens = self.step_pairs * (self.step_prompt + 2 * (self.step_response - 1))
        completion_tokens = self.step_pairs * 2 * self.step_response
        head = config["vocab_size"] * config["hidden_size"]
        once = 2 * body_parameters(config) * tokens + 2 * head * completion_tokens
        return once * (3 if is_reference_cached else 4)


SMALL = Workload(
    prompt=64, step_prompt=20, step_response=24, decode_prompt=16, decode_new=8, online_prompt=16, online_new=8
)


def text(token_count: int, source: random.Random) -> str:
    """Lower-case words, one token a character; it neither begins nor ends with a space."""
    letters = source.choices(string.ascii_lowercase, k=token_count)
    for place in range(5, token_count - 1, 6):
        letters[place] = " "
    return "".join(letters)


def write_lines(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_pairs(path: Path, workload: Workload) -> Path:
    """Random preference pairs of the step's lengths."""
    source = random.Random(2)
    characters = workload.step_response - 1  # and the end token
    rows = [
        {
            "prompt": text(workload.step_prompt, source),
            "chosen": text(characters, source),
            "rejected": text(characters, source),
        }
        for _ in range(ROWS_IN_FILE)
    ]
    return write_lines(path, rows)


def write_prompts(path: Path, row_count: int, token_count: int) -> Path:
    source = random.Random(3)
    return write_lines(path, [{"prompt": text(token_count, source)} for _ in range(row_count)])
