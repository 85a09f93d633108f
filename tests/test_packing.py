"""Packed sequences: the tokens of a padded batch one after another, and back."""

import torch

from model.attention.packing import Packing

MASK = torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]]).bool()


def test_tokens_are_concatenated() -> None:
    packing = Packing.of(MASK)
    assert packing.lengths == (5, 3, 0, 1) and packing.total == 9 and packing.longest == 5
    assert packing.starts == (0, 5, 8, 8) and packing.cu_seqlens.tolist() == [0, 5, 8, 8, 9]
    assert packing.positions.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 0]
    assert packing.first.tolist() == [0, 5, 8, 8]
    assert packing.places.tolist() == MASK.flatten().nonzero()[:, 0].tolist()


def test_what_is_packed_can_be_padded_again() -> None:
    packing, padded = Packing.of(MASK), torch.randn(4, 6, 3)
    assert torch.equal(packing.pack(padded), padded[MASK])
    assert torch.equal(packing.pad(packing.pack(padded)), padded * MASK[..., None])


def test_padded_indices_become_packed_indices() -> None:
    packing, ids = Packing.of(MASK), torch.arange(24).view(4, 6)
    places = MASK.flatten().nonzero()[:, 0]
    assert torch.equal(packing.pack(ids)[packing.packed(places)], places)
    assert packing.packed(torch.arange(24)).max() < packing.total  # padding gets some index, never an error


def test_known_lengths_make_the_mask_unnecessary() -> None:
    assert Packing.of(torch.zeros(2, 6).bool(), lengths=[4, 2]).lengths == (4, 2)


def test_a_full_batch_is_not_copied() -> None:
    packing, x = Packing.full(3, 4, torch.device("cpu")), torch.randn(3, 4, 5)
    assert packing.dense and packing.mask() is None
    assert packing.pack(x).data_ptr() == x.data_ptr() == packing.pad(packing.pack(x)).data_ptr()


def test_a_batch_with_gaps_stays_as_it_is() -> None:
    gaps = torch.tensor([[0, 1, 1], [1, 1, 1]]).bool()
    packing = Packing.of(gaps)
    assert packing.lengths == (3, 3) and torch.equal(packing.mask(), gaps)  # type: ignore[arg-type]
