"""Encoders that transformers loads: every kind of task, other tokenizers, the same losses as ours, and what is refused."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from model.conversion.reading import read
from model.conversion.writing import write
from model.finetuning.finetune import Finetuned, finetune
from model.finetuning.learner import FinetuneConfig
from pipeline import storage
from pipeline.errors import UserError
from pipeline.tokenization.vocab import SPECIALS
from tests.commands import refused
from tests.test_answers import questions
from workflows.cli import main
from workflows.evaluation import encoders, tasks
from workflows.evaluation.config import EvaluationConfig
from workflows.evaluation.run import evaluate
from workflows.evaluation.scores import UNTRAINED

transformers: Any = pytest.importorskip("transformers")
tokenizers: Any = pytest.importorskip("tokenizers")

CHARACTERS = "房间很干净太吵了江泽民在京沪说好不的人甲乙丙丁戊己庚辛哪谁来北上海"
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
DRY = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
pytestmark = pytest.mark.usefixtures("one_thread")


def bert(folder: Path, **settings: Any) -> Path:
    """A BERT as it is published: config.json, model.safetensors, vocab.txt."""
    vocab = [*SPECIALS, *CHARACTERS]
    torch.manual_seed(1)
    config = transformers.BertConfig(vocab_size=len(vocab), max_position_embeddings=32, **SIZES, **settings)
    transformers.BertForPreTraining(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
    return folder


def sentencepiece(folder: Path) -> Path:
    """An XLM-R: words begin with a mark, some tokens have several characters, texts are framed by two </s>."""
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("江泽民", -1.0), ("北京", -1.0)]
    pieces += [(character, -4.0) for character in CHARACTERS]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, unk_id=3))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"bos_token": "<s>", "cls_token": "<s>", "sep_token": "</s>", "eos_token": "</s>"}
    names |= {"pad_token": "<pad>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **names).save_pretrained(folder)
    torch.manual_seed(1)
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    config = transformers.XLMRobertaConfig(
        vocab_size=len(pieces), max_position_embeddings=34, type_vocab_size=1, **SIZES, **ids
    )
    transformers.XLMRobertaForMaskedLM(config).save_pretrained(folder)
    return folder


def byte_level(folder: Path) -> Path:
    """A ModernBERT: bytes of characters are tokens, no segments, no pooler."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *alphabet]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({word: number for number, word in enumerate(words)}, []))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    torch.manual_seed(1)
    ids = {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
    config = transformers.ModernBertConfig(vocab_size=len(words), max_position_embeddings=96, **SIZES, **ids)
    transformers.ModernBertModel(config).save_pretrained(folder)
    return folder


MODELS = {"bert": bert, "sentencepiece": sentencepiece, "byte_level": byte_level}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A task of each kind, easy to learn."""
    folder = str(tmp_path_factory.mktemp("data"))
    rng = random.Random(5)
    words = [("江泽民", "B-PER I-PER I-PER"), ("京", "B-LOC"), ("沪", "B-LOC"), ("说", "O")]
    for split, count in (("train", 96), ("dev", 16), ("test", 16)):
        reviews, pairs, lines = ["label\ttext_a"], ["text_a\ttext_b\tlabel"], []
        for number in range(count):
            text = "".join(rng.choices("房间很干净太吵了", k=6))
            reviews.append(f"{number % 2}\t{text[:3]}{'好' if number % 2 else '不'}{text[3:]}")
            pairs.append(f"{text}\t{'好' if number % 2 else '不'}人\t{number % 2}")
            for word, tags in rng.choices(words, k=3):
                lines += [f"{character} {tag}" for character, tag in zip(word, tags.split(), strict=True)]
            lines.append("")
        storage.write_bytes(storage.join(folder, f"sentiment/{split}.tsv"), "\n".join(reviews).encode())
        storage.write_bytes(storage.join(folder, f"lcqmc/{split}.tsv"), "\n".join(pairs).encode())
        storage.write_bytes(storage.join(folder, f"entities/{split}.txt"), "\n".join(lines).encode())
        if split != "test":
            content = json.dumps(questions(count, count), ensure_ascii=False)
            storage.write_bytes(storage.join(folder, f"cmrc2018/cmrc2018_{split}.json"), content.encode())
    return folder


@pytest.mark.parametrize("model", MODELS)
def test_every_kind_of_task_is_scored_beside_the_same_network_untrained(model: str, data: str, tmp_path: Path) -> None:
    folder = MODELS[model](tmp_path / "network")
    config = EvaluationConfig(
        tasks=("sentiment", "lcqmc", "entities", "cmrc2018"), seeds=1, epochs=4, batch_size=8, learning_rate=5e-3
    )
    scores = evaluate(f"hf:{folder}", data, config, str(tmp_path / "out"), threads=1)
    assert [s.model_id for s in scores if s.metric == "accuracy" and s.split == "dev"] == ["hf:network"] * 2 + [UNTRAINED] * 2
    best = {s.metric: s.value for s in scores if s.split == "test" and s.model_id == "hf:network" and s.task != "lcqmc"}
    assert best["accuracy"] > 0.8 and best["entity_f1"] > 0.8 and best["f1"] > 0
    assert {s.hyperparameters["max_length"] for s in scores} == {96 if model == "byte_level" else 32}
    for score in scores:
        assert storage.exists(storage.join(str(tmp_path / "out"), score.predictions_uri)) and ":" not in score.predictions_uri


def losses(model: str, task: str, data: str) -> Finetuned[Any]:
    """Fine-tune on a task for two epochs."""
    encoder = encoders.load(model)
    found = tasks.load(tasks.find(task), data)
    kind = found.kind
    splits = kind.encode((found.train, found.dev, found.test), found.labels, encoder.tokenizer)
    config = FinetuneConfig(epochs=2, batch_size=8, learning_rate=1e-3, max_length=encoder.limit(0, kind.max_length))
    return finetune(encoder.start, kind.objective(found.labels), splits, config, score=lambda predicted: 0.0)


@pytest.mark.parametrize("task", ["sentiment", "lcqmc", "entities", "cmrc2018"])
def test_a_bert_has_the_same_losses_when_it_is_converted(task: str, data: str, tmp_path: Path) -> None:
    folder = bert(tmp_path / "bert", **DRY)
    write(read(str(folder)), str(tmp_path / "ours"), "ours", "tiny")
    theirs, ours = losses(f"hf:{folder}", task, data), losses(str(tmp_path / "ours"), task, data)
    # Sums are added in another order, which two epochs of training make larger: 3e-5 on one processor, below 1e-5 on another.
    assert ours.losses == pytest.approx(theirs.losses, abs=5e-4) and ours.losses[1] != ours.losses[0]


def test_items_have_a_token_of_their_own_and_answers_are_characters(tmp_path: Path) -> None:
    tokenizer = encoders.load(f"hf:{sentencepiece(tmp_path / 'pieces')}").tokenizer
    text, item, odd = tokenizer.encode_batch(["江泽民在京", "江", "\ud83d京"])
    assert text.offsets.tolist() == [[0, 3], [3, 4], [4, 5]], "without the mark of a beginning"
    assert len(item.ids) == 1 and odd.offsets[-1].tolist() == [1, 2]
    words = encoders.load(f"hf:{bert(tmp_path / 'words')}").tokenizer
    assert SPECIALS.index("[SEP]") not in words.encode_batch(["好[SEP]人"])[0].ids, "[SEP] in a text is text"


def test_padding_and_other_rows_of_a_batch_change_no_score(tmp_path: Path) -> None:
    """XLM-R numbers positions by what is not its padding."""
    body: Any = encoders.load(f"hf:{sentencepiece(tmp_path)}").start.body()
    body.eval()
    ids = torch.randint(4, 40, (2, 9))
    mask = torch.arange(9) < torch.tensor([[9], [5]])
    together, alone = body(ids, mask), body(ids[1:, :5])
    torch.testing.assert_close(together[1, :5], alone[0], rtol=0, atol=1e-6)
    assert body.pool(together).shape == (2, 32)


def without(folder: Path, name: str) -> Path:
    (folder / name).unlink()
    return folder


def with_config(folder: Path, changes: Mapping[str, Any]) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


@pytest.mark.parametrize(
    ("problem", "says"),
    [
        ("none", "no such folder"),
        ("no config", "no config.json in it"),
        ("pickle", "no .safetensors file in it"),
        ("ours", "give the folder without hf:"),
        ("code", "transformers cannot load its configuration"),
        ("weights", "weights of a bert are not in its file"),
        ("vocabulary", "the tokenizer has"),
        ("decoder", "no encoder"),
        ("damaged", "transformers cannot load its weights"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(problem: str, says: str, data: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    if problem == "no config":
        without(bert(folder), "config.json")
    elif problem == "pickle":
        without(bert(folder), "model.safetensors")
        torch.save({}, folder / "pytorch_model.bin")
    elif problem == "ours":
        write(read(str(bert(tmp_path / "bert"))), str(folder), "ours", "tiny")
    elif problem == "code":
        with_config(bert(folder), {"model_type": "fancy", "auto_map": {"AutoConfig": "evil.Config"}})
        (folder / "evil.py").write_text("raise SystemExit('code of a stranger was run')")
    elif problem == "weights":
        with_config(bert(folder), {"num_hidden_layers": 3})
    elif problem == "vocabulary":
        (bert(folder) / "vocab.txt").write_text("\n".join([*SPECIALS, *CHARACTERS, "多"]) + "\n")
    elif problem == "decoder":
        with_config(bert(folder), {"is_decoder": True})
    elif problem == "damaged":
        (bert(folder) / "model.safetensors").write_bytes(b"\0" * 100)
    arguments = ["evaluate", f"hf:{folder}", "--data", data, "--tasks", "sentiment", "--output", str(tmp_path / "out")]
    assert says in refused(CliRunner().invoke(main, [*arguments, "--seeds", "1", "--epochs", "1"]))


def test_more_tokens_than_a_model_reads_are_refused_before_training(data: str, tmp_path: Path) -> None:
    config = EvaluationConfig(tasks=("sentiment",), seeds=1, max_length=33)
    with pytest.raises(UserError, match="max_length is 33, but the model reads at most 32 tokens"):
        evaluate(
            f"hf:{sentencepiece(tmp_path / 'x')}", data, config, str(tmp_path / "out"), report=lambda *_: pytest.fail("trained")
        )


def test_a_model_of_the_hub_without_a_network_is_one_line(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        UserError, match=r"hf:nobody/no-such-model: there is no such folder, and no such model was got"
    ) as refusal:
        encoders.absolute("hf:nobody/no-such-model")
    assert "\n" not in str(refusal.value)
