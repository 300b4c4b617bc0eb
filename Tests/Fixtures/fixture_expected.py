"""What `sail score` and greedy `sail generate` must answer for a folder, by transformers."""

import platform

import fixture_models as fm  # first: it fixes the CPU paths before torch is loaded
import fixture_texts as texts
import numpy
import safetensors
import tokenizers
import torch
import transformers

GREEDY_LIMIT = 24
SMALLEST_GAP = 5e-3


def versions():
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "safetensors": safetensors.__version__,
        "numpy": numpy.__version__,
    }


def score_rows(tokenizer, end, model, exact, reference, rows, with_tokens):
    """One entry a pair, with the keys of `sail score`."""
    scored = []
    for index, row in enumerate(rows):
        ids = fm.encode_pair(tokenizer, row, end)
        entry = dict(ids)
        for side in ["chosen", "rejected"]:
            arguments = ids["prompt_ids"], ids[f"{side}_ids"]
            each = fm.token_logps(model, *arguments)
            entry[f"logps/{side}"] = float(each.sum())
            entry[f"ref_logps/{side}"] = float(fm.logp(reference, *arguments))
            entry[f"{side}_tokens"] = len(ids[f"{side}_ids"])
            entry[f"float64_logps/{side}"] = float(fm.logp(exact, *arguments))
            difference = abs(entry[f"logps/{side}"] / entry[f"float64_logps/{side}"] - 1)
            assert difference < 2e-6, (index, side, difference)
            if index < with_tokens:
                entry[f"token_logps/{side}"] = each.tolist()
        scored.append(entry)
    return scored


def greedy_rows(tokenizer, ends, model, fewest_ended=1):
    """Three texts that reach the limit, two at most that end before it, none with a close decision."""
    wanted = {"length": 3, "eos": 2}
    rows = []
    words = sorted({word for text in texts.TRAINING_TEXTS for word in text.split()})
    for prompt in texts.GREEDY_PROMPTS + words:
        if not any(wanted.values()):
            break
        prompt_ids = tokenizer(prompt)["input_ids"]
        ids, total, gap = fm.greedy(model, prompt_ids, ends, GREEDY_LIMIT)
        finish = "eos" if ids[-1] in ends else "length"
        if gap < SMALLEST_GAP or wanted[finish] == 0:
            continue
        assert ids == library_greedy(model, prompt_ids, ends)
        wanted[finish] -= 1
        rows.append(
            {
                "prompt": prompt,
                "prompt_ids": prompt_ids,
                "token_ids": ids,
                "completion": tokenizer.decode(ids, skip_special_tokens=True),
                "logps": total,
                "finish": finish,
                "smallest_gap": gap,
            }
        )
    assert wanted["length"] == 0 and wanted["eos"] <= 2 - fewest_ended, wanted
    return rows


def library_greedy(model, prompt_ids, ends):
    """The same by `generate`, with its cache."""
    settings = transformers.GenerationConfig(
        do_sample=False, max_new_tokens=GREEDY_LIMIT, eos_token_id=ends, pad_token_id=ends[0]
    )
    model.generation_config = settings  # the folder's own penalties would be merged in
    prompt = torch.tensor([prompt_ids])
    output = model.generate(prompt, attention_mask=torch.ones_like(prompt), generation_config=settings)
    return output[0, len(prompt_ids) :].tolist()
