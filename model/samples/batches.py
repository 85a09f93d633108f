"""Batches: which rows a step takes, how they are cut into micro-batches, which worker gets which, and what is masked.

    step 3 of batch size 4           rows 12..15 of the order       lengths 9 128 14 120
    micro_batches(.., 256)           (13, 15) (14, 12)              longest first, padded to 128 and to 16
    dealt to 2 workers               worker 0: (13, 15)             worker 1: (14, 12)

    row        [CLS] 他 出 生 在  北     京   。 [SEP]               a draw masks 北京, of which it leaves 京 in place
    input_ids  [CLS] 他 出 生 在 [MASK]  京   。 [SEP] 0 0           padded
    labels                        北     京                          mask_positions 5 6: also where the token was left

All of it is a function of seed, step and shards, so any number of workers sees the same samples, masks and micro-batches.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.samples import ahead
from model.samples.order import Located, Order
from pipeline.arrays import Ints
from pipeline.config import MaskingConfig, PairsConfig
from pipeline.engine.stages import Finished
from pipeline.examples import masking
from pipeline.examples.masking import MaskingRules
from pipeline.examples.sequences import Sequences
from pipeline.examples.shards import Row, ShardSet
from pipeline.tokenization.vocab import Vocab

NO_LABEL = -100
"""Pair label of a row without one; the value that torch's cross entropy ignores."""
PAD_MULTIPLE = 8
"""Length that padded lengths are a multiple of: matrix units work in eights, and there are fewer shapes."""

Mask = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""Masked positions of a row (k,), and the tokens that replace its own there (k,)."""


@dataclass(frozen=True)
class Batch:
    """A micro-batch: B rows padded to L tokens, with K masked tokens."""

    number: int
    """Index among the step's micro-batches of all workers; it keys the dropout."""
    input_ids: Tensor
    """(B, L) int64, masks applied."""
    attention_mask: Tensor
    """(B, L) bool, True for tokens, False for padding."""
    token_type_ids: Tensor
    """(B, L) int64, 1 in the second segment."""
    mask_positions: Tensor
    """(K,) int64 into the B * L positions."""
    mask_labels: Tensor
    """(K,) int64, the original tokens."""
    pair_labels: Tensor
    """(B,) int64, -100 where there is none."""
    example_ids: npt.NDArray[np.uint64]
    """(B,) uint64, to tell which examples a step saw; stays in main memory."""
    lengths: tuple[int, ...]
    """(B,) tokens of each row: the host needs them without waiting for a GPU."""
    pairs: int
    """Rows with a pair label."""

    @property
    def masked(self) -> int:
        """Masked tokens, K."""
        return len(self.mask_labels)

    @property
    def tokens(self) -> int:
        """Tokens without padding."""
        return sum(self.lengths)

    @property
    def squares(self) -> int:
        """Sum of the squared lengths, which the cost of attention is proportional to."""
        return sum(length * length for length in self.lengths)

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.type is Tensor}
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})


@dataclass(frozen=True)
class Step:
    """One worker's part of one step."""

    start: int
    """First sample of the step, over all workers."""
    end: int
    """Sample after its last."""
    micro_batches: tuple[Batch, ...]


def micro_batches(lengths: Ints, micro_batch_tokens: int) -> list[Ints]:
    """Indices of the rows of each micro-batch, longest rows first; every row once.

    `lengths`: (n,) tokens of each row. A micro-batch has at most `micro_batch_tokens` positions, padding included; a row that
    is longer than that is a micro-batch of its own.
    """
    longest_first = np.argsort(-lengths, kind="stable")
    result, start = [], 0
    while start < len(lengths):
        count = max(1, micro_batch_tokens // padded(int(lengths[longest_first[start]])))
        result.append(longest_first[start : start + count])
        start += count
    return result


def padded(length: int) -> int:
    """The length that rows are padded to when the longest has `length` tokens."""
    return -(-length // PAD_MULTIPLE) * PAD_MULTIPLE


class MaskedRows:
    """The masked rows of one split of several sources. `Located.source` is an index into `sources`."""

    def __init__(self, sources: Sequence[Finished], split: str, vocab: Vocab, seed: int) -> None:
        self.sets = [ShardSet(source, split) for source in sources]
        settings = [(MaskingConfig(**one.manifest["masking"]), PairsConfig(**one.manifest["pairs"])) for one in sources]
        self.rules = [MaskingRules.of(vocab, *one) for one in settings]
        self.seed = seed

    def lengths(self, places: Located) -> Ints:
        """The number of tokens of each row, (n,)."""
        result = np.empty(len(places.row), np.int64)
        for number, shards in enumerate(self.sets):
            here = np.flatnonzero(places.source == number)
            result[here] = shards.lengths(places.row[here])
        return result

    def worker_batches(self, places: Located, micro_batch_tokens: int, rank: int, world_size: int) -> Iterator[Batch]:
        """The micro-batches of worker `rank`: number i goes to worker i mod `world_size`.

        Masks are drawn for all of them at once, which takes a fraction of the time.
        """
        parts = micro_batches(self.lengths(places), micro_batch_tokens)
        own = range(rank, len(parts), world_size)
        picked = np.concatenate([parts[number] for number in own]) if own else np.zeros(0, np.int64)
        rows, masks = self._read(Located(places.source[picked], places.epoch[picked], places.row[picked]))
        start = 0
        for number in own:
            end = start + len(parts[number])
            yield self._batch(number, rows[start:end], masks[start:end])
            start = end

    def batch(self, number: int, places: Located) -> Batch:
        """Read, mask and pad some rows."""
        return self._batch(number, *self._read(places))

    def _read(self, places: Located) -> tuple[list[Row], list[Mask]]:
        rows = [self.sets[source].row(row) for source, row in zip(places.source.tolist(), places.row.tolist(), strict=True)]
        return rows, self._masks(rows, places)

    def _batch(self, number: int, rows: Sequence[Row], masks: Sequence[Mask]) -> Batch:
        """Mask rows, and pad them to one length."""
        # Rows side by side, (B, L); the ids at padded positions are never looked at.
        lengths = np.array([len(row.input_ids) for row in rows])
        length = padded(int(lengths.max()))
        column = np.arange(length)
        attention_mask = column < lengths[:, None]
        originals = np.zeros(attention_mask.shape, np.int64)
        originals[attention_mask] = np.concatenate([row.input_ids for row in rows])
        second_start = np.array([row.second_start or length for row in rows])
        # Masked positions in the flattened batch, (K,), and the tokens there replaced.
        counts = [len(positions) for positions, _ in masks]
        positions = np.concatenate([positions for positions, _ in masks]).astype(np.int64)
        positions += np.repeat(np.arange(len(rows)) * length, counts)
        input_ids = originals.copy()
        input_ids.reshape(-1)[positions] = np.concatenate([replacements for _, replacements in masks])
        pair_labels = np.array([NO_LABEL if row.pair_label is None else row.pair_label for row in rows], np.int64)
        return Batch(
            number=number,
            input_ids=torch.from_numpy(input_ids),
            attention_mask=torch.from_numpy(attention_mask),
            token_type_ids=torch.from_numpy((attention_mask & (column >= second_start[:, None])).astype(np.int64)),
            mask_positions=torch.from_numpy(positions),
            mask_labels=torch.from_numpy(originals.reshape(-1)[positions]),
            pair_labels=torch.from_numpy(pair_labels),
            example_ids=np.array([row.example_id for row in rows], np.uint64),
            lengths=tuple(lengths.tolist()),
            pairs=int((pair_labels != NO_LABEL).sum()),
        )

    def _masks(self, rows: list[Row], places: Located) -> list[Mask]:
        """The mask of each row: the stored draw of its epoch, or a new one where none are stored."""
        epochs = places.epoch.tolist()
        masks = [row.draws[epoch % len(row.draws)] if row.draws else None for row, epoch in zip(rows, epochs, strict=True)]
        fresh = np.flatnonzero([mask is None for mask in masks])
        for source in np.unique(places.source[fresh]).tolist():
            here = fresh[places.source[fresh] == source]
            chosen = [rows[i] for i in here]
            ids, units = [row.input_ids for row in chosen], [row.unit_starts for row in chosen]
            sequences = Sequences.join([row.example_id for row in chosen], ids, units, [row.second_start for row in chosen])
            drawn = masking.draw(self.seed, places.epoch[here, None], sequences, self.rules[source])
            ends = drawn.lengths[:, 0].cumsum().tolist()
            for i, start, end in zip(here.tolist(), [0, *ends], ends, strict=False):
                masks[i] = drawn.positions[start:end], drawn.replacements[start:end]
        return [mask for mask in masks if mask is not None]


def steps(
    rows: MaskedRows,
    order: Order,
    samples: Iterable[tuple[int, int]],
    micro_batch_tokens: int,
    rank: int = 0,
    world_size: int = 1,
    device: torch.device | None = None,
) -> Generator[Step, None, None]:
    """One step for each (first sample, end) of `samples`; a thread reads the next while the caller works on the last.

    Other threads fetch the shards of a store that later steps need.
    """

    def load(start: int, end: int) -> Step:
        own = rows.worker_batches(order.locate(np.arange(start, end)), micro_batch_tokens, rank, world_size)
        return Step(start, end, tuple(batch.to(device) if device else batch for batch in own))

    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread, ahead.fetching(rows.sets, order) as fetching:
        loading = None
        for start, end in samples:
            if fetching:
                fetching.at(start)
            loaded, loading = loading, thread.submit(load, start, end)
            if loaded:
                yield loaded.result()
        if loading:
            yield loading.result()
