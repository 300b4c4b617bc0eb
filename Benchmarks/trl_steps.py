"""Steps of TRL's trainers on a CPU, timed. Runs in the peer's Python; writes one JSON object to `--out`.

    python Benchmarks/trl_steps.py --trainer dpo --model DIR --data pairs.jsonl --precision bf16 --steps 2 --out FILE

`--precision bf16` is TRL's fastest way here: weights, gradient and optimizer state in bf16. A first step is left out.
"""

import argparse
import json
import resource
import tempfile
import time

import datasets
import torch
import transformers
import trl
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

COMMON = {
    "use_cpu": True,
    "learning_rate": 1e-6,
    "lr_scheduler_type": "constant",
    "eval_strategy": "no",
    "save_strategy": "no",
    "report_to": "none",
    "logging_steps": 1,
    "disable_tqdm": True,
    "seed": 0,
}


class Clock(TrainerCallback):
    """Seconds of each optimizer step."""

    def __init__(self):
        self.started = time.monotonic()
        self.seconds = []
        self.first_step = None

    def on_step_begin(self, args, state, control, **kwargs):
        self.begin = time.monotonic()
        if self.first_step is None:
            self.first_step = self.begin - self.started

    def on_step_end(self, args, state, control, **kwargs):
        self.seconds.append(time.monotonic() - self.begin)
        # Seen on the way: a step takes minutes on a small machine.
        print(f"step {len(self.seconds)}: {self.seconds[-1]:.2f} s", flush=True)


def load(arguments):
    kind = torch.bfloat16 if arguments.precision == "bf16" else torch.float32
    return AutoModelForCausalLM.from_pretrained(arguments.model, dtype=kind)


def settings(arguments, folder):
    return {
        **COMMON,
        "output_dir": folder,
        "per_device_train_batch_size": arguments.pairs,
        "max_steps": arguments.steps + 1,
        "bf16": arguments.precision == "bf16" and arguments.autocast,
        "gradient_checkpointing": arguments.checkpointing,
    }


def dpo_trainer(arguments, folder, clock):
    data = datasets.load_dataset("json", data_files=arguments.data, split="train", cache_dir=folder)
    config = trl.DPOConfig(**settings(arguments, folder), max_length=None)
    return trl.DPOTrainer(
        model=load(arguments),
        ref_model=load(arguments),
        args=config,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(arguments.model),
        callbacks=[clock],
    )


def online_trainer(arguments, folder, clock):
    from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

    data = datasets.load_dataset("json", data_files=arguments.data, split="train", cache_dir=folder)
    config = OnlineDPOConfig(
        **settings(arguments, folder), max_new_tokens=arguments.new_tokens, temperature=1.0, top_p=1.0, top_k=0
    )

    def shorter(prompts, completions, **kwargs):
        return [-float(len(completion)) for completion in completions]

    return OnlineDPOTrainer(
        model=load(arguments),
        ref_model=load(arguments),
        reward_funcs=shorter,
        args=config,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(arguments.model, padding_side="left"),
        callbacks=[clock],
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainer", choices=["dpo", "online"], required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--precision", choices=["f32", "bf16"], required=True)
    parser.add_argument("--steps", type=int, default=2, help="measured steps, after a first one")
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--autocast", action="store_true", help="bf16: autocast too, as TRL's default")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing, as TRL's default")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    clock = Clock()
    make = dpo_trainer if arguments.trainer == "dpo" else online_trainer
    with tempfile.TemporaryDirectory(prefix="trl-steps-") as folder:
        trainer = make(arguments, folder, clock)
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "trl": trl.__version__,
    }
    result = {
        "seconds": clock.seconds[1:],
        "first_step_seconds": clock.seconds[0],
        "start_seconds": clock.first_step,
        "losses": losses,
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "threads": torch.get_num_threads(),
        "versions": versions,
    }
    with open(arguments.out, "w", encoding="utf-8") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main()
