"""Fill-mask: adjacent masks are one word, the likeliest combinations come first, texts come from the command line or a pipe."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from model.config import EncoderConfig
from model.heads import PretrainingModel
from pipeline.errors import TaskError
from pipeline.tokenization.vocab import SPECIALS, Vocab
from tests import tiny
from tests.commands import refused
from workflows.cli import main
from workflows.cli.errors import UserMistake
from workflows.cli.models import fill_mask
from workflows.inference.fill_mask import (
    beam,
    fill,
    joined,
    masked_words,
)

VOCAB = Vocab((*SPECIALS, *"今天气北京大学很好", "news", "##s"))
ENCODER = EncoderConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, PretrainingModel]:
    return tiny.exported(tmp_path_factory.mktemp("export"), ENCODER, VOCAB, seed=5)


def chances(network: PretrainingModel, ids: list[int], position: int) -> torch.Tensor:
    with torch.no_grad():
        scores, _ = network(torch.tensor([ids]), None, None, torch.tensor([position]))
    chances: torch.Tensor = scores[0].softmax(-1)
    return chances


def test_masks_in_a_row_are_one_word() -> None:
    mask = VOCAB.mask_id
    assert masked_words([2, mask, mask, 7, mask, 3, mask], VOCAB) == [[1, 2], [4], [6]]


def test_a_word_of_two_masks_is_the_best_of_all_combinations(model: tuple[str, PretrainingModel]) -> None:
    _, network = model
    ids = [VOCAB.cls_id, 7, VOCAB.mask_id, VOCAB.mask_id, 9, VOCAB.sep_id]
    plain = range(len(SPECIALS), len(VOCAB))
    first = chances(network, ids, 2)
    expected = {}
    for one, two in itertools.product(plain, plain):
        second = chances(network, [*ids[:2], one, *ids[3:]], 3)
        expected[VOCAB.tokens[one], VOCAB.tokens[two]] = float(first[one] * second[two])
    ranked = sorted(expected.items(), key=lambda item: -item[1])[:20]
    found = beam(network, ids, [2, 3], VOCAB, 20)
    assert [tuple(guess["tokens"]) for guess in found] == [tokens for tokens, _ in ranked]
    assert [guess["probability"] for guess in found] == pytest.approx([chance for _, chance in ranked], abs=2e-6)


def test_one_mask_has_the_networks_own_probabilities_without_special_tokens(model: tuple[str, PretrainingModel]) -> None:
    folder, network = model
    ((guesses,),) = fill(folder, ["今[MASK]"], 100)
    expected = chances(network, [VOCAB.cls_id, VOCAB.ids["今"], VOCAB.mask_id, VOCAB.sep_id], 2)
    assert {guess["tokens"][0] for guess in guesses} == set(VOCAB.tokens) - set(SPECIALS)
    assert all(
        guess["probability"] == pytest.approx(float(expected[VOCAB.ids[guess["tokens"][0]]]), abs=2e-6) for guess in guesses
    )
    assert [guess["probability"] for guess in guesses] == sorted((guess["probability"] for guess in guesses), reverse=True)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["北", "京"], "北京"),
        (["new", "##s"], "news"),
        (["ai", "时", "代"], "ai时代"),
        (["big", "data"], "big data"),
        (["##s"], "s"),
    ],
)
def test_tokens_are_joined_as_people_write(tokens: list[str], text: str) -> None:
    assert joined(tokens) == text


def test_texts_come_from_a_pipe_one_a_line(model: tuple[str, PretrainingModel]) -> None:
    folder, _ = model
    done = CliRunner().invoke(
        main, ["fill-mask", folder, "-", "--json", "--top", "2"], input="今[MASK]\n\n[MASK][MASK]大学很[MASK]\n"
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["text"] for line in lines] == ["今[MASK]", "[MASK][MASK]大学很[MASK]"]
    assert [[len(word["tokens"]) for word in words] for words in (line["words"][0] for line in lines)] == [[1, 1], [2, 2]]
    assert [len(line["words"]) for line in lines] == [1, 2]


def test_a_text_without_a_mask_is_reported_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"line 2: the text has no \[MASK\]"):
        list(fill(str(tmp_path), ["今[MASK]", "今天"], 3))


def test_standard_input_that_cannot_be_read_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(main, ["fill-mask", "m", "-"], input="今[MASK]\n".encode() + "今[MASK]".encode("gb18030"))
    assert refused(done) == "standard input: line 2 is not UTF-8; convert it first: iconv -f gb18030 -t utf-8"
    monkeypatch.setattr("sys.stdin", None)  # as after `<&-`
    with pytest.raises(UserMistake, match="standard input is closed"):
        fill_mask.callback("m", "-", 5, False)  # type: ignore[misc]


def test_a_text_from_a_terminal_of_another_encoding_is_one_line() -> None:
    text = "今[MASK]".encode("gb18030").decode(errors="surrogateescape")  # as Python reads it
    assert "not UTF-8; set the terminal to UTF-8" in refused(CliRunner().invoke(main, ["fill-mask", "m", text]))
