"""Peer of `evaluate`: fine-tuning an exported network with transformers' Trainer, as its users would write it.

    python peer_evaluate.py FOLDER --batch 32 --device cpu --bf16
    same                      {"tokens_per_second": 9310.2}       the batches of rows.npz, in their order
    own                       {"tokens_per_second": 5120.7}       the same texts, as the Trainer samples them

The network is the folder's own code; padding, optimizer (fused AdamW), schedule and clipping are the Trainer's defaults.
Imports nothing of this project.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, SequentialSampler
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)


class Rows(Dataset):  # type: ignore[type-arg]
    def __init__(self, path: Path) -> None:
        with np.load(path) as arrays:
            self.ids = np.split(arrays["ids"], np.cumsum(arrays["lengths"])[:-1])
            self.labels = arrays["labels"]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        ids = self.ids[index].tolist()
        return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": int(self.labels[index])}


class InOrder(Trainer):
    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        rows: Any = self.train_dataset
        return SequentialSampler(rows)


class Times(TrainerCallback):
    """When each step ended, and how many tokens it had."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())


class Counting:
    """The usual collator, which also counts tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self.collate = DataCollatorWithPadding(tokenizer)
        self.tokens: list[int] = []

    def __call__(self, rows: list[dict[str, Any]]) -> Any:
        self.tokens.append(sum(len(row["input_ids"]) for row in rows))
        return self.collate(rows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()
    rows = Rows(options.folder / "rows.npz")
    tokenizer = AutoTokenizer.from_pretrained(options.folder, trust_remote_code=True)
    with tempfile.TemporaryDirectory() as output:
        for line in sys.stdin:
            print(json.dumps(turn(line.strip(), options, rows, tokenizer, output)), flush=True)


def turn(order: str, options: argparse.Namespace, rows: Rows, tokenizer: Any, output: str) -> dict[str, float]:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(options.folder, num_labels=2, trust_remote_code=True)
    settings = TrainingArguments(
        output,
        num_train_epochs=1,
        per_device_train_batch_size=options.batch,
        learning_rate=3e-5,
        weight_decay=0.01,
        optim="adamw_torch_fused",
        bf16=options.bf16,
        use_cpu=options.device == "cpu",
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    times, collator = Times(options.device), Counting(tokenizer)
    kind = InOrder if order == "same" else Trainer
    # What the Trainer prints at the end would be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    try:
        kind(model, settings, train_dataset=rows, data_collator=collator, callbacks=[times]).train()
    finally:
        sys.stdout = answers
    return {"tokens_per_second": sum(collator.tokens[1 : len(times.ends)]) / (times.ends[-1] - times.ends[0])}


if __name__ == "__main__":
    main()
