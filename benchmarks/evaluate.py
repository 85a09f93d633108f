"""Speed of fine-tuning a classifier of reviews: steps, with everything that comes before and after a loss.

    evaluate/step/tiny     tokens/s      baseline: the same exported network in transformers' Trainer, on the same batches
    evaluate/epoch/tiny    tokens/s      baseline: the same, with batches as the Trainer makes them
    evaluate/step/base     tokens/s

The texts are reviews of the embedded corpus, 32 a step, cut at 128 tokens; padding is not counted. Both sides have AdamW
(fused), a linear schedule, gradients clipped to norm 1, and the precision that `auto` selects here, and take turns; the first
step of each turn is a warm-up, and the median turn counts. The peer (peer_evaluate.py) pads a batch to its longest text;
`evaluate/epoch` is in random order there, and in batches of similar length here.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from benchmarks import peers
from benchmarks.measurement import Measurement
from model.config import EncoderConfig
from model.exporting.export import export_model, load_export
from model.finetuning.learner import FinetuneConfig, Learner, tokens
from model.finetuning.objectives import Classify
from model.finetuning.start import Nezha
from model.finetuning.windows import Text, Window, shuffled
from model.heads import PretrainingModel
from model.precision import resolve
from pipeline import storage
from pipeline.sources.demo import read_reviews
from pipeline.tokenization.vocab import SPECIALS, Vocab

TINY = EncoderConfig(
    hidden_size=128,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=512,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
VOCABULARY = {"tiny": 8_000, "base": 21_128}
STEPS = {"tiny": 40, "base": 4}
"""Timed steps in a turn."""
TURNS = 5
BATCH = 32
LENGTH = 128
SEED = 1


def measurements(python: str | None = None, networks: Sequence[str] = ("tiny", "base")) -> Iterator[Measurement]:
    """Return the rows. `networks` is for tests: fewer."""
    for name in networks:
        with tempfile.TemporaryDirectory(prefix="nezha-bench-") as folder:
            yield from _rows(name, TINY if name == "tiny" else EncoderConfig(), Path(folder), python)


def _rows(name: str, config: EncoderConfig, folder: Path, python: str | None) -> Iterator[Measurement]:
    start = _export(config, VOCABULARY[name], folder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = resolve("auto", torch.device(device))
    batches = _batches(VOCABULARY[name], 1 + STEPS[name])
    _save([row for batch in batches for row in batch], folder / "rows.npz")
    ours: list[float] = []
    theirs: dict[str, list[float]] = {"same": [], "own": []}
    missing = ""
    with ExitStack() as stack:
        try:
            arguments = [str(folder), "--batch", str(BATCH), "--device", device, *(["--bf16"] if precision == "bf16" else [])]
            ask = stack.enter_context(peers.dialogue(peers.environment(python), "peer_evaluate.py", *arguments))
        except peers.PeerMissing as error:
            missing = str(error)
        for _ in range(TURNS):
            ours.append(_turn(start, batches))
            for order, speeds in theirs.items():
                if not missing and (order == "same" or name == "tiny"):
                    try:
                        speeds.append(ask(order)["tokens_per_second"])
                    except peers.PeerMissing as error:
                        missing = str(error)
    about = f"{len(batches) - 1} steps a turn, {precision}, {torch.get_num_threads()} threads"
    for row, order in (("step", "same"), ("epoch", "own")):
        if row == "step" or name == "tiny":
            baseline = None if missing else statistics.median(theirs[order])
            note = f"{missing or 'baseline: Trainer of transformers 4.57.6'}; {about}"
            yield Measurement(
                name=f"evaluate/{row}/{name}", value=statistics.median(ours), unit="tokens/s", baseline=baseline, note=note
            )


def _export(config: EncoderConfig, vocab_size: int, folder: Path) -> Nezha:
    """Write a network with fresh weights, and return it as what fine-tuning starts from."""
    torch.manual_seed(SEED)
    vocab = Vocab((*SPECIALS, *(f"p{number}" for number in range(vocab_size - len(SPECIALS)))))
    network = PretrainingModel(config, len(vocab))
    export_model(network, vocab.tokens, True, lambda name, data: storage.write_bytes(str(folder / name), data), {})
    loaded = load_export(str(folder))[0]
    return Nezha(config, len(vocab), vocab.cls_id, vocab.sep_id, loaded.nezha.state_dict())


def _batches(vocab_size: int, count: int) -> list[list[Window]]:
    """Return batches as fine-tuning makes them. A character is a token."""
    texts = [
        Text(np.array([len(SPECIALS) + ord(one) % (vocab_size - len(SPECIALS)) for one in review.text]), np.array([index % 2]))
        for index, (_, review) in enumerate(read_reviews()[: count * BATCH])
    ]
    windows = Classify(2).to_learn(texts, Nezha(TINY, vocab_size, 2, 3).frame(LENGTH))
    order = shuffled([len(window.ids) for window in windows], BATCH, np.random.default_rng(SEED))
    return [[windows[index] for index in batch] for batch in order]


def _save(rows: Sequence[Window], path: Path) -> None:
    lengths = np.array([len(row.ids) for row in rows])
    labels = np.concatenate([row.labels for row in rows])
    np.savez(path, allow_pickle=False, ids=np.concatenate([row.ids for row in rows]), lengths=lengths, labels=labels)


def _turn(start: Nezha, batches: Sequence[Sequence[Window]]) -> float:
    """Return the tokens per second of one turn."""
    torch.manual_seed(SEED)
    objective = Classify(2)
    learner = Learner([objective.network(start.body())], FinetuneConfig(batch_size=BATCH, max_length=LENGTH), len(batches))
    learner.step(0, objective.loss, batches[0])
    _wait()
    started = time.perf_counter()
    for batch in batches[1:]:
        learner.step(0, objective.loss, batch)
    _wait()
    return sum(map(tokens, batches[1:])) / (time.perf_counter() - started)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
