"""What a recipe may say about the corpus: one frozen class a table, one string a field.

Every field changes the bytes that `prepare` writes, so every field is part of a stage's key. What does not (workers, runner,
the size of a task) is an argument of the stages, never a field here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["demo", "text", "news", "baike", "wiki"]
PairTask = Literal["nsp", "sop", "none"]
Variant = Literal["auto", "none", "zh-cn", "zh-sg", "zh-my", "zh-tw", "zh-hk", "zh-mo", "zh-hans", "zh-hant"]


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """`[[source]]`: where documents come from."""

    name: str
    """A short name: folders, weights of phases and reports use it."""
    kind: Kind
    """What it is: `demo` (the embedded corpus), `wiki` (a MediaWiki dump), `baike` (an encyclopedia), `news` or `text`.
    The layout of files (JSON, Parquet, plain text, compressed or not) is recognised by their content."""
    input: tuple[str, ...] = ()
    """Files, folders or globs, any fsspec URL. For `demo`: the part to take, `news` or `reviews`. For `wiki` without input: the
    latest dump of the Chinese Wikipedia is downloaded."""
    priority: int = 0
    """Of the same document in two sources, the source with the higher priority keeps it."""
    licence: str = "unknown"
    """Under what terms the text may be used; it travels into manifests and the model card."""
    max_bad: float = 0.01
    """Share of records that may be unreadable before the source is refused."""
    text_field: tuple[str, ...] = ()
    """Fields of a record that hold its text, in their order; empty: known layouts are recognised."""
    encoding: Literal["auto", "utf-8", "gb18030", "utf-16"] = "auto"
    """Of text files; `auto`: UTF-8, UTF-16 by its mark, and GB18030 where a file is not UTF-8 but is that."""
    variant: Variant = "auto"
    """The Chinese that documents are converted to: `none` leaves both scripts; `auto` is `zh-cn` for `wiki`, else `none`."""
    list_items: bool = True
    """Of `wiki`: whether items of lists are kept."""
    personal_data: Literal["auto", "mask", "keep"] = "auto"
    """Mail addresses, phone, identity card and IP numbers: masked or kept; `auto` masks in `text`."""
    filters: Mapping[str, float] = field(default_factory=dict)
    """Thresholds of `[filters]` that are others for this source."""

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or not self.name.isascii():
            raise ValueError(f"name {self.name!r} must be a plain word (letters, digits, _): folders bear it")


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """`[filters]`: which documents are too poor to train on. Decided after reading, so a change reads nothing again."""

    min_characters: int = 10
    """Shortest document, in characters without white space."""
    max_characters: int = 200_000
    """Longest document, in characters."""
    min_chinese_share: float = 0.3
    """Least share of Chinese characters among those that are not white space (0.3: ChineseWebText)."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_chinese_share <= 1:
            raise ValueError(f"min_chinese_share {self.min_chinese_share} is not between 0 and 1")
        if self.min_characters > self.max_characters:
            raise ValueError(f"min_characters {self.min_characters} is above max_characters {self.max_characters}")


@dataclass(frozen=True, kw_only=True)
class DedupConfig:
    """`[dedup]`: which documents count as the same."""

    exact: bool = True
    """Drop documents whose text is the same but for width, case, punctuation and white space."""


@dataclass(frozen=True, kw_only=True)
class VocabularyConfig:
    """`[vocabulary]`: a given vocab.txt, or one built from the documents."""

    url: str = ""
    """A vocab.txt, one piece a line. Empty: built from the documents that are kept."""
    size: int = 21_128
    """Most pieces of a built vocabulary."""
    min_count: int = 2
    """A character or word seen less often does not enter a built vocabulary."""
    do_lower_case: bool = True
    """Latin letters are lowered and lose their accents, as BERT's Chinese vocabulary expects."""

    def __post_init__(self) -> None:
        if self.size < 200:
            raise ValueError(f"size {self.size} leaves no room for text: the special pieces and ASCII alone need 200")


@dataclass(frozen=True, kw_only=True)
class MaskingConfig:
    """`[masking]`: what is hidden from the model. Names as in BERT's create_pretraining_data where it has them."""

    policy: Literal["word", "piece"] = "word"
    """What is hidden as a whole: a jieba word, or a single piece."""
    masked_lm_prob: float = 0.15
    """Share of pieces that are predicted."""
    max_predictions_per_seq: int = 0
    """Most pieces predicted in a sequence; 0 = as many as the share asks for."""
    static_draws: int = 1
    """Draws stored in the shards; epoch e uses draw e mod static_draws. 0 = drawn anew every epoch while training."""

    def __post_init__(self) -> None:
        if not 0 < self.masked_lm_prob < 1:
            raise ValueError(f"masked_lm_prob {self.masked_lm_prob} is not between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class PairsConfig:
    """`[pairs]`: how sentences of a document become one or two segments."""

    task: PairTask = "nsp"
    """`nsp`: two segments, does B follow A? `none`: one segment of whole sentences."""
    short_seq_prob: float = 0.1
    """Share of sequences cut shorter than they could be, so that short ones are known too."""
    dupe_factor: int = 1
    """Times that every document is paired anew."""

    def __post_init__(self) -> None:
        if self.dupe_factor < 1:
            raise ValueError(f"dupe_factor {self.dupe_factor} is below 1")


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """All that `prepare` needs: sources, and what is done with them."""

    sources: tuple[SourceConfig, ...]
    sequence_lengths: tuple[int, ...]
    """Longest sequence of each set of shards, in pieces, [CLS] and [SEP] included."""
    seed: int = 12_345
    validation_share: float = 0.005
    """Share of documents (by hash) kept for validation, never trained on."""
    filters: FilterConfig = field(default_factory=FilterConfig)
    dedup: DedupConfig = field(default_factory=DedupConfig)
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
