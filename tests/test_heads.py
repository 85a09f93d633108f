"""The heads: their keys, the tied matrix, and scores at masked positions only."""

import torch

from model.config import EncoderConfig
from model.encoder import Encoder
from model.heads import PretrainingModel, SequenceClassifier, TokenClassifier

TINY = EncoderConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
HEAD_KEYS = {
    "cls.predictions.bias",
    "cls.predictions.transform.dense.weight",
    "cls.predictions.transform.dense.bias",
    "cls.predictions.transform.LayerNorm.weight",
    "cls.predictions.transform.LayerNorm.bias",
    "cls.seq_relationship.weight",
    "cls.seq_relationship.bias",
}


def ids(*shape: int) -> torch.Tensor:
    return torch.randint(0, 50, shape, generator=torch.Generator().manual_seed(7))


def test_keys_are_those_of_hugging_face() -> None:
    model = PretrainingModel(TINY, 50)
    assert set(model.state_dict()) == {f"nezha.{key}" for key in model.nezha.state_dict()} | HEAD_KEYS
    for kind in (SequenceClassifier, TokenClassifier):
        classifier = kind(Encoder(TINY, 50), 3)
        encoder_keys = {f"body.{key}" for key in model.nezha.state_dict()}
        assert set(classifier.state_dict()) == encoder_keys | {"classifier.weight", "classifier.bias"}


def test_the_base_model_with_heads_has_the_size_of_the_release() -> None:
    with torch.device("meta"):
        model = PretrainingModel(EncoderConfig(), 21_128)
    assert sum(weight.numel() for weight in model.parameters()) == 102_489_226


def test_the_vocabulary_matrix_is_that_of_the_word_embeddings() -> None:
    model = PretrainingModel(TINY, 50).eval()
    batch, positions = ids(1, 6), torch.tensor([2])
    before = model(batch, None, None, positions)[0]
    with torch.no_grad():
        unused = next(token for token in range(50) if token not in batch)
        model.nezha.embeddings.word_embeddings.weight[unused] += torch.randn(16)
    changed = (model(batch, None, None, positions)[0] - before)[0].abs() > 1e-6
    assert changed.nonzero().flatten().tolist() == [unused]


def test_scores_are_of_the_masked_positions_in_their_order() -> None:
    model = PretrainingModel(TINY, 50).eval()
    batch = ids(2, 6)
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    everywhere, pairs = model(batch, mask, None, torch.arange(12))
    some, same_pairs = model(batch, mask, None, torch.tensor([9, 1, 6]))
    assert everywhere.shape == (12, 50) and pairs.shape == (2, 2)
    torch.testing.assert_close(some, everywhere[[9, 1, 6]])
    assert torch.equal(pairs, same_pairs)


def test_a_batch_without_masked_positions_gives_no_scores() -> None:
    model = PretrainingModel(TINY, 50)
    logits, pairs = model(ids(2, 6), None, None, torch.zeros(0, dtype=torch.long))
    assert logits.shape == (0, 50)
    torch.autograd.backward(logits.sum() + pairs.sum())
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())


def test_logits_are_float32_under_bfloat16() -> None:
    model = PretrainingModel(TINY, 50)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, pairs = model(ids(2, 6), None, None, torch.tensor([1]))
    assert logits.dtype == pairs.dtype == torch.float32


def test_classifiers_read_the_first_position_or_each() -> None:
    sequences, tokens = SequenceClassifier(Encoder(TINY, 50), 3).eval(), TokenClassifier(Encoder(TINY, 50), 7).eval()
    batch = ids(2, 6)
    hidden = sequences.body(batch)
    expected = torch.tanh(sequences.get_submodule("body.pooler.dense")(hidden[:, 0])) @ sequences.classifier.weight.T
    torch.testing.assert_close(sequences(batch), expected)
    assert sequences(batch).shape == (2, 3)
    torch.testing.assert_close(tokens(batch), tokens.classifier(tokens.body(batch)))
    assert tokens(batch).shape == (2, 6, 7)


def test_weights_move_from_pretraining_to_a_classifier_by_their_keys() -> None:
    model, classifier = PretrainingModel(TINY, 50).eval(), TokenClassifier(Encoder(TINY, 50), 7).eval()
    classifier.get_submodule("body").load_state_dict(model.nezha.state_dict())
    assert torch.equal(model.nezha(ids(1, 6)), classifier.body(ids(1, 6)))
