"""What a recipe may say about the corpus: one frozen class a table, one string a field.

Every field changes the bytes that `prepare` writes, so every field is part of a stage's key. What does not (workers, runner,
the size of a task) is an argument of the stages, never a field here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Kind = Literal["demo", "text", "news", "baike", "wiki", "tfrecord"]
PairTask = Literal["nsp", "sop", "none"]
Layout = Literal["segments", "sentences", "full_sentences", "document_sentences"]
MaskingPolicy = Literal["word", "token", "span", "entity"]
Variant = Literal["auto", "none", "zh-cn", "zh-sg", "zh-my", "zh-tw", "zh-hk", "zh-mo", "zh-hans", "zh-hant"]


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """`[[source]]`: where documents come from."""

    name: str
    """A short name: folders, weights of phases and reports use it."""
    kind: Kind
    """What it is: `demo` (the embedded corpus), `wiki` (a MediaWiki dump), `baike` (an encyclopedia), `news`, `text`, or
    `tfrecord` (examples of BERT's create_pretraining_data.py). The layout of files is recognised by their content."""
    input: tuple[str, ...] = ()
    """Files, folders or globs, any fsspec URL. For `demo`: the part to take, `news` or `reviews`. For `wiki` without input: the
    latest dump of the Chinese Wikipedia is downloaded."""
    priority: int = 0
    """Of the same document in two sources, the source with the higher priority keeps it."""
    licence: str = "unknown"
    """Under what terms the text may be used; it travels into manifests and the model card."""
    max_bad_ratio: float = 0.01
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

    def resolved(self) -> "SourceConfig":
        """The same with `auto` told in full, and nothing that its kind does not ask: other words for it read nothing again."""
        wiki = self.kind == "wiki"
        automatic: Literal["mask", "keep"] = "mask" if self.kind == "text" else "keep"
        return replace(
            self,
            variant=self.variant if self.variant != "auto" else "zh-cn" if wiki else "none",
            personal_data=self.personal_data if self.personal_data != "auto" else automatic,
            list_items=self.list_items or not wiki,
        )


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """`[filters]`: which documents are too poor to train on. Decided after reading, so a change reads nothing again.

    What is measured, and how, is in pipeline/cleaning/quality.py. The values published for web pages stand with each field; where
    they would drop good news, laws, articles or reviews, the default is milder. 0 switches a `min_` off, 1 a `max_` of a share.
    """

    min_characters: int = 10
    """Shortest document, in characters without white space."""
    max_characters: int = 200_000
    """Longest document, in characters."""
    min_chinese_ratio: float = 0.2
    """Least share of Chinese characters among those that are not white space (ChineseWebText: 0.3, which drops a tenth of the
    technical articles with links)."""
    languages: tuple[str, ...] = ("zh", "yue", "lzh", "none")
    """Languages that are kept: Mandarin, Cantonese, classical Chinese; `none` is text without letters. Empty: all."""
    max_digit_ratio: float = 0.5
    """Largest share of numerals: more is a table, or a number with its name. Of our own."""
    judge_from_characters: int = 100
    """The rules below judge no shorter documents: they were made for documents of 50 words and more (Gopher)."""
    judge_from_lines: int = 5
    """The rules about lines judge no documents of fewer lines: a review of one line ends as it likes."""
    min_stopwords: int = 2
    """How many of the 20 commonest words of one character a document has at least (2: FineWeb-2, cmn_Hani)."""
    max_sign_ratio: float = 0.4
    """Largest share of punctuation and other signs (0.4: data-juicer asks for 60 % letters and digits in its wiki recipe)."""
    max_symbol_ratio: float = 0.2
    """Largest share of signs that no sentence has: #, =, arrows, emoji (Gopher: 0.1 a word; code and markup have more)."""
    max_top_3gram_ratio: float = 0.256
    """Largest share of the commonest 3 letters (0.256 for 2 words: FineWeb-2)."""
    max_top_5gram_ratio: float = 0.3
    """Largest share of the commonest 5 letters (FineWeb-2: 0.201 for 3 words; news that list companies have 0.27)."""
    max_top_7gram_ratio: float = 0.35
    """Largest share of the commonest 7 letters (FineWeb-2: 0.171 for 4 words; short articles have 0.3 with their subject)."""
    max_dup_8gram_ratio: float = 0.7
    """Largest share of letters in 8 letters that stood further up (FineWeb-2: 0.198 for 5 words; most laws have more)."""
    max_dup_10gram_ratio: float = 0.6
    """The same for 10 letters (0.6: data-juicer's recipe for Chinese; FineWeb-2: 0.182 for 6 words)."""
    max_dup_13gram_ratio: float = 0.5
    """The same for 13 letters (0.5: ChineseWebText; FineWeb-2: 0.154 for 8 words)."""
    max_dup_17gram_ratio: float = 0.5
    """The same for 17 letters (FineWeb-2: 0.127 for 10 words)."""
    min_mean_line_length: float = 5.0
    """Least characters of a line on average (ChineseWebText: 10, which drops poems)."""
    min_ended_line_ratio: float = 0.02
    """Least share of lines with punctuation at their end (FineWeb-2: 0.106, which drops poems)."""
    max_short_line_ratio: float = 1.0
    """Largest share of lines of fewer than 10 characters. Off, as in FineWeb-2."""
    max_bullet_line_ratio: float = 0.9
    """Largest share of lines that begin with a bullet (0.9: Gopher)."""
    max_ellipsis_line_ratio: float = 0.3
    """Largest share of lines that end with an ellipsis (0.3: Gopher)."""
    max_dup_line_ratio: float = 0.5
    """Largest share of lines equal to one further up (FineWeb-2: 0.287, which drops articles with code)."""
    max_dup_line_character_ratio: float = 0.2
    """Largest share of characters in such lines (0.2: Gopher; FineWeb-2: 0.1)."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_chinese_ratio <= 1:
            raise ValueError(f"min_chinese_ratio {self.min_chinese_ratio} is not between 0 and 1")
        if self.min_characters > self.max_characters:
            raise ValueError(f"min_characters {self.min_characters} is above max_characters {self.max_characters}")
        for name in ("sign_ratio", "symbol_ratio", "digit_ratio", "bullet_line_ratio", "ellipsis_line_ratio"):
            if not 0 <= (value := getattr(self, f"max_{name}")) <= 1:
                raise ValueError(f"max_{name} {value} is not between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class DedupConfig:
    """`[dedup]`: which documents count as the same."""

    exact: bool = True
    """Drop documents whose text is the same but for width, case, punctuation and white space."""
    near: bool = True
    """Drop documents that are nearly the same: runs of letters are compared by MinHash."""
    similarity: float = 0.75
    """Least similarity of near duplicates (Jaccard, of their sets of runs; estimated to about 0.04). 0 = who shares a band."""
    ngram_size: int = 5
    """Letters of a run. Chinese needs fewer than English: 5 (data-juicer) is about three words."""
    bands: int = 14
    """Bands of the signature: more find more pairs. Half of the pairs of similarity (1 / bands) ** (1 / rows) are compared:
    0.72 for 14 x 8 (datatrove), 0.79 for 20 x 13 (NeMo Curator)."""
    rows: int = 8
    """Hashes of a band: more find fewer pairs."""
    min_paragraph_characters: int = 30
    """A line of at least so many letters that stood in a document before is taken out. 0 = lines are not compared."""
    withdrawn: str = ""
    """URL of a list of ids of documents, one a line, that must not be used; copies of them go too."""

    def __post_init__(self) -> None:
        if not 0 <= self.similarity <= 1:
            raise ValueError(f"similarity {self.similarity} is not between 0 and 1")
        for name in ("ngram_size", "bands", "rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} is below 1")
        if self.bands * self.rows > 4_096:
            raise ValueError(f"bands {self.bands} x rows {self.rows} are more than 4,096 hashes a document")
        if 0 < self.min_paragraph_characters < 10:
            raise ValueError(f"min_paragraph_characters {self.min_paragraph_characters} is below 10: common phrases would go")


@dataclass(frozen=True, kw_only=True)
class DecontaminationConfig:
    """`[decontamination]`: documents that hold texts of evaluation sets are taken out."""

    inputs: tuple[str, ...] = ()
    """Evaluation files, folders or globs, any fsspec URL: tables (tsv), JSON, JSON lines, characters with tags, plain lines."""
    enabled: bool = True
    """Off: nothing is compared, and evaluation texts may be trained on."""
    ngram_size: int = 13
    """Letters of a run (n-gram) that is looked for."""
    min_ngram_ratio: float = 0.5
    """A document that holds this share of the runs of one evaluation text is dropped."""
    min_matching_ngrams: int = 30
    """A document that holds so many runs of one evaluation text is dropped too, however long that text is."""

    def __post_init__(self) -> None:
        if self.ngram_size < 5:
            raise ValueError(f"ngram_size {self.ngram_size} is below 5: common phrases would count as leaks")
        if not 0 < self.min_ngram_ratio <= 1:
            raise ValueError(f"min_ngram_ratio {self.min_ngram_ratio} is not between 0 and 1")
        if self.min_matching_ngrams < 1:
            raise ValueError(f"min_matching_ngrams {self.min_matching_ngrams} is below 1")


@dataclass(frozen=True, kw_only=True)
class VocabularyConfig:
    """`[vocabulary]`: a given vocab.txt, or one built from the documents."""

    url: str = ""
    """A vocab.txt, one token a line. Empty: built from the documents that are kept."""
    size: int = 21_128
    """Most tokens of a built vocabulary."""
    min_count: int = 2
    """A character or word seen less often does not enter a built vocabulary."""
    do_lower_case: bool = True
    """Latin letters are lowered and lose their accents, as BERT's Chinese vocabulary expects."""
    map_punctuation: bool = True
    """Punctuation that the vocabulary lacks becomes what it has: “ to ", — to -, … to . (Google's Chinese one lacks these,
    0.8 % of news). The same in training, in the export and in use."""

    def __post_init__(self) -> None:
        if self.size < 200:
            raise ValueError(f"size {self.size} leaves no room for text: the special tokens and ASCII alone need 200")


@dataclass(frozen=True, kw_only=True)
class WordsConfig:
    """`[words]`: what a word is, of which masking hides all tokens together."""

    segmenter: str = "jieba"
    """Who finds words. `jieba`, as NEZHA; `given`: white space in the text parts them; or `module:function`, any function that
    can be imported and makes a list of words of each text of a list."""
    user_dictionary: tuple[str, ...] = ()
    """Files of words that jieba does not know, any fsspec URL: a word a line, and if wanted how often it occurs and its tag."""

    def __post_init__(self) -> None:
        module, _, function = self.segmenter.partition(":")
        names = [*module.split("."), function] if ":" in self.segmenter else []
        if self.segmenter not in ("jieba", "given") and not (names and all(name.isidentifier() for name in names)):
            raise ValueError(f"segmenter {self.segmenter!r} is neither 'jieba' nor 'given' nor a 'module:function'")
        if self.user_dictionary and self.segmenter != "jieba":
            raise ValueError(f"user_dictionary is jieba's; segmenter {self.segmenter!r} does not read it")


@dataclass(frozen=True, kw_only=True)
class MaskingConfig:
    """`[masking]`: what is hidden from the model. Names as in BERT's create_pretraining_data where it has them."""

    policy: MaskingPolicy = "word"
    """What is hidden as a whole: `word`, a word; `token`, a single token; `span`, up to ten words in a row (SpanBERT);
    `entity`, a phrase of the list `phrases` where one stands, else a word."""
    phrases: str = ""
    """A list of phrases for `entity`, one a line, any fsspec URL."""
    masked_lm_prob: float = 0.15
    """Share of tokens that are predicted."""
    max_predictions_per_seq: int = 0
    """Most tokens predicted in a sequence; 0 = as many as the share asks for."""
    static_draws: int = 1
    """Draws stored in the shards; epoch e uses draw e mod static_draws. 0 = drawn anew every epoch while training."""

    def __post_init__(self) -> None:
        if not 0 < self.masked_lm_prob < 1:
            raise ValueError(f"masked_lm_prob {self.masked_lm_prob} is not between 0 and 1")
        if self.max_predictions_per_seq < 0:
            raise ValueError(
                f"max_predictions_per_seq {self.max_predictions_per_seq} is below 0; 0 = as many as the share asks for"
            )
        if self.static_draws < 0:
            raise ValueError(f"static_draws {self.static_draws} is below 0; 0 = masks are drawn while training")
        if self.policy == "entity" and not self.phrases:
            raise ValueError("policy 'entity' needs phrases: the URL of a list of phrases, one a line")
        if self.phrases and self.policy != "entity":
            raise ValueError(f"phrases are used by policy 'entity' only, not by {self.policy!r}")


@dataclass(frozen=True, kw_only=True)
class PairsConfig:
    """`[pairs]`: how sentences of a document become one or two segments."""

    task: PairTask = "nsp"
    """`nsp`: two segments, does B follow A? `sop`: two segments that follow one another, are they in their order (ALBERT)?
    `none`: one segment."""
    layout: Layout = "segments"
    """What a sequence is made of. `segments`: as much text of a document as there is room for. `sentences`: a pair of single
    sentences, or with task `none` one sentence. With task `none` alone: `document_sentences`, whole sentences of a document
    (so is `segments` there); `full_sentences`, whole sentences that go on over the ends of documents, with [SEP] between."""
    short_seq_prob: float = 0.1
    """Share of sequences cut shorter than they could be, so that short ones are known too."""
    dupe_factor: int = 1
    """Times that every document is paired anew."""

    def __post_init__(self) -> None:
        if self.dupe_factor < 1:
            raise ValueError(f"dupe_factor {self.dupe_factor} is below 1")
        if not 0 <= self.short_seq_prob <= 1:
            raise ValueError(f"short_seq_prob {self.short_seq_prob} is not between 0 and 1")
        if self.task != "none" and self.layout in ("full_sentences", "document_sentences"):
            raise ValueError(f"layout {self.layout!r} makes one segment, task {self.task!r} needs two; set task = 'none'")


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """All that `prepare` needs: sources, and what is done with them."""

    sources: tuple[SourceConfig, ...]
    sequence_lengths: tuple[int, ...]
    """Longest sequence of each set of shards, in tokens, [CLS] and [SEP] included."""
    seed: int = 12_345
    validation_ratio: float = 0.005
    """Share of documents (by hash) kept for validation, never trained on."""
    filters: FilterConfig = field(default_factory=FilterConfig)
    dedup: DedupConfig = field(default_factory=DedupConfig)
    decontamination: DecontaminationConfig = field(default_factory=DecontaminationConfig)
    words: WordsConfig = field(default_factory=WordsConfig)
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
