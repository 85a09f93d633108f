"""New tokens for an old encoder: their initial values, that old tokens are unchanged, and the notes on them."""

from pathlib import Path

import pytest
import torch

from model.conversion import names
from model.conversion.vocabulary import extended, read_tokens
from model.exporting.export import load_export
from pipeline.errors import CorpusError
from pipeline.tokenization.wordpiece import WordPieceEncoder
from tests.converting import VOCAB, random_weights, without
from workflows.converting import convert

NEW = ["covid", "##ing", "鑫", "今天", "好", "co19", "焱"]
"""co ##vid; ##in ##g; unknown; 今 天; there already; co [UNK]... as one word unknown; unknown."""


def test_a_new_token_is_the_mean_of_what_it_was_read_as() -> None:
    old = random_weights()
    new, extension = extended(old, NEW)
    for name in (names.WORDS, names.BIAS):
        rows, parts = new.tensors[name], old.tensors[name]
        for token, of in {"covid": ("co", "##vid"), "##ing": ("in", "##g"), "今天": ("今", "天")}.items():
            ids = [VOCAB.ids[one] for one in of]
            torch.testing.assert_close(rows[new.vocab.ids[token]], parts[ids].mean(0))
    assert (extension.added, extension.composed, extension.known) == (6, 3, 1)
    assert extension.notes() == [
        "added 6 tokens: 3 start as means of old tokens, 3 as the mean of all",
        "1 tokens of the file were already in the vocabulary",
        "1 of them (今天) can never occur: ideographs and punctuation are always split off",
    ]


def test_a_token_in_a_word_begins_with_the_form_for_inside_of_words() -> None:
    vocab = type(VOCAB)((*VOCAB.tokens, "##in"))
    old = random_weights(vocab=vocab)
    new, _ = extended(old, ["##ing"])
    words = old.tensors[names.WORDS]
    expected = words[[vocab.ids["##in"], vocab.ids["##g"]]].mean(0)
    torch.testing.assert_close(new.tensors[names.WORDS][-1], expected)


def test_tokens_of_which_nothing_is_known_begin_near_the_mean_and_differ() -> None:
    old = random_weights()
    new, _ = extended(old, NEW)
    words, mean = new.tensors[names.WORDS], old.tensors[names.WORDS].mean(0)
    one, other = words[new.vocab.ids["鑫"]], words[new.vocab.ids["焱"]]
    deviation = old.tensors[names.WORDS].std(0)
    assert not torch.equal(one, other)
    assert 0.03 < ((one - mean) / deviation).std() < 0.3
    assert torch.equal(extended(old, NEW)[0].tensors[names.WORDS], words)
    assert not torch.equal(extended(old, NEW, seed=1)[0].tensors[names.WORDS], words)


def test_old_tokens_and_all_other_weights_stay_as_they_are() -> None:
    old = random_weights()
    new, _ = extended(old, NEW)
    assert new.vocab.tokens[: len(VOCAB)] == VOCAB.tokens
    assert new.vocab.tokens[len(VOCAB) :] == ("covid", "##ing", "鑫", "今天", "co19", "焱")
    for name, tensor in old.tensors.items():
        assert torch.equal(new.tensors[name][: len(tensor)] if name in (names.WORDS, names.BIAS) else new.tensors[name], tensor)


def test_an_encoder_without_the_masked_word_head_grows_too() -> None:
    new, _ = extended(without(random_weights(), "cls."), NEW)
    assert len(new.tensors[names.WORDS]) == len(VOCAB) + 6 and names.BIAS not in new.tensors


def test_the_command_adds_tokens_and_the_result_reads_them(tmp_path: Path) -> None:
    from model.conversion.writing import write

    write(random_weights(), str(tmp_path / "in"), "huawei-pytorch", "tiny")
    (tmp_path / "tokens.txt").write_text("\n".join(NEW) + "\n", "utf-8")
    facts = convert(str(tmp_path / "in"), str(tmp_path / "out"), extend_vocab=str(tmp_path / "tokens.txt"))
    assert facts["tokens"] == len(VOCAB) + 6
    assert "added 6 tokens: 3 start as means of old tokens, 3 as the mean of all" in facts["notes"]
    network, _, tokens, rules = load_export(str(tmp_path / "out"))
    vocab = type(VOCAB)(tuple(tokens))
    ids = WordPieceEncoder(vocab, rules["do_lower_case"]).encode("covid鑫").ids
    assert [vocab.tokens[i] for i in ids] == ["covid", "鑫"]
    assert network.nezha.embeddings.word_embeddings.weight.shape == (len(VOCAB) + 6, 16)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "line 1 is blank"),
        ("天\n##\n".encode(), "line 2 is blank"),
        ("天 气\n".encode(), "line 1 is blank or contains a space"),
        ("天\n气\n天\n".encode(), "'天' occurs twice"),
        (b"\xcc\xec\n", "not UTF-8"),
    ],
)
def test_a_file_that_is_no_list_of_tokens_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        read_tokens(data, "tokens.txt")


def test_a_list_of_tokens_may_come_from_windows() -> None:
    assert read_tokens("\ufeff鑫\r\ncovid\r\n".encode(), "tokens.txt") == ["鑫", "covid"]
