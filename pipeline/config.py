"""The settings of a recipe that concern the corpus: a frozen class per table, with a docstring per field.

Every field affects the bytes that `prepare` writes, so every field is part of the key of a stage. What does not (workers,
runner, the size of a task) is an argument of the stages, never a field here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pipeline.validation import check_ranges

Kind = Literal["demo", "text", "web", "news", "baike", "wiki", "tfrecord"]
PairTask = Literal["nsp", "sop", "none"]
Layout = Literal["segments", "sentences", "full_sentences", "document_sentences"]
MaskingPolicy = Literal["word", "token", "span", "entity"]
MOST_DRAWS = 100
"""Most masks stored per sequence, and most uses of a document: shards grow with each of them."""
LONGEST_SEQUENCE = 65_535
"""Longest sequence in tokens: shards store positions in 16 bits."""
Variant = Literal["auto", "none", "zh-cn", "zh-sg", "zh-my", "zh-tw", "zh-hk", "zh-mo", "zh-hans", "zh-hant"]
VariantTables = Literal["opencc", "mediawiki"]


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """`[[source]]`: where documents come from."""

    name: str
    """Short name, used for folders, in reports and in the weights of training phases."""
    kind: Kind
    """Kind of text: `demo` (the embedded corpus), `wiki` (a MediaWiki dump), `baike` (an encyclopedia), `news`, `web` (crawled
    pages), `text`, or `tfrecord` (examples made by BERT's create_pretraining_data.py). File formats are detected."""
    input: tuple[str, ...] = ()
    """Files, folders or globs, as any URL that fsspec supports. For `demo`: the part to use, `news` or `reviews`. For `wiki`
    without input, the latest dump of the Chinese Wikipedia is downloaded."""
    priority: int = 0
    """If a document is in several sources, the source with the highest priority keeps it."""
    licence: str = "unknown"
    """Licence of the text, copied into manifests and the model card."""
    max_bad_ratio: float = 0.01
    """Maximum ratio of unreadable records; with more the source is refused."""
    text_field: tuple[str, ...] = ()
    """Fields of a record that are its text, in order; columns of tables also by number. Empty: known fields are detected."""
    encoding: Literal["auto", "utf-8", "gb18030", "utf-16"] = "auto"
    """Encoding of text files. `auto`: UTF-16 if there is a byte order mark, else UTF-8, else GB18030."""
    variant: Variant = "auto"
    """Variety of Chinese to convert documents to. `none` converts nothing; `auto` is `zh-cn` for `wiki`, else `none`."""
    variant_tables: VariantTables = "opencc"
    """Tables that convert text to `variant`. `mediawiki`: those of Wikipedia itself, from the optional package that
    `nezha-pipe[mediawiki]` installs."""
    list_items: bool = True
    """Whether to keep list items, for `wiki`."""
    broken_sentences: Literal["drop", "keep"] = "drop"
    """What to do with sentences that lost a formula or template they cannot do without, for `wiki`. They are about two in a
    hundred, and a model that reads `面积为，` learns to write it."""
    personal_data: Literal["auto", "mask", "keep"] = "auto"
    """Whether to mask personal data: e-mail addresses, numbers of telephones, identity and bank cards, licence plates and IP
    addresses, QQ and WeChat accounts, passwords. `auto` masks it in sources of kind `text`."""
    preset: Literal["auto", "web", "none"] = "auto"
    """Rules for a kind of text besides those for all. `web`: names of sites and keywords are removed, spam, spun text,
    advertising and lists are measured and dropped. `auto` is `web` for kind `web`, else `none`."""
    spam_phrases: tuple[str, ...] = ()
    """Phrases that mark spam besides those known, for the preset `web`; one that ends in .txt is a file with one per line."""
    filters: Mapping[str, float] = field(default_factory=dict)
    """Thresholds of `[filters]` to override for this source."""

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or not self.name.isascii():
            raise ValueError(f"name {self.name!r} must be a plain word (letters, digits, _); folders are named after it")
        if "" in self.input:  # it would be the current folder
            raise ValueError("an input is empty; name files, folders or globs")
        check_ranges(self, max_bad_ratio=(0, 1))

    def resolved(self) -> "SourceConfig":
        """Replace `auto` by its value and reset what the kind does not use, so that equivalent settings have the same key."""
        wiki = self.kind == "wiki"
        automatic: Literal["mask", "keep"] = "mask" if self.kind == "text" else "keep"
        preset = self.preset if self.preset != "auto" else "web" if self.kind == "web" else "none"
        variant: Variant = self.variant if self.variant != "auto" else "zh-cn" if wiki else "none"
        return replace(
            self,
            variant=variant,
            variant_tables=self.variant_tables if variant != "none" else "opencc",
            personal_data=self.personal_data if self.personal_data != "auto" else automatic,
            list_items=self.list_items or not wiki,
            broken_sentences=self.broken_sentences if wiki else "drop",
            preset=preset,
            spam_phrases=self.spam_phrases if preset == "web" else (),
        )


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """`[filters]`: which documents are too poor to train on. Filters apply after reading, so a change re-reads no files.

    pipeline/cleaning/quality.py defines what is measured. Values published for web pages are given with each field; where they
    would drop good news, laws, articles or reviews, the default is milder. 0 disables a `min_`, 1 a `max_..._ratio`. N-grams
    are of characters (letters and digits only), the published values for n-grams of words.
    """

    min_characters: int = 10
    """Minimum length of a document, in characters without white space."""
    max_characters: int = 200_000
    """Maximum length of a document, in characters without white space."""
    max_lost_ratio: float = 0.02
    """Maximum ratio of characters that decoding has lost (U+FFFD, or 锟斤拷). Our own value: one in fifty."""
    min_chinese_ratio: float = 0.2
    """Minimum ratio of Chinese characters among all but white space (ChineseWebText: 0.3, which drops a tenth of the technical
    articles with links)."""
    languages: tuple[str, ...] = ("zh", "yue", "lzh", "none")
    """Languages to keep: Mandarin, Cantonese, classical Chinese; `none` is text without letters. Empty: all."""
    max_digit_ratio: float = 0.5
    """Maximum ratio of digits; documents with more are tables, or numbers with a caption. Our own value."""
    max_spam_phrases: int = 1
    """Maximum number of spam phrases and names of gambling sites; only in sources with the preset `web`, as the next four. Set
    it high to disable the rule."""
    max_spun_signs: int = 1
    """Maximum number of signs that a program made or changed the text: swapped words, repeated summaries, stuffed titles."""
    max_advertising: float = 8.0
    """Maximum points for advertising per 1,000 characters."""
    max_listing_ratio: float = 0.5
    """Maximum ratio of characters in lines that are no sentences. Verse and dialogue have none."""
    max_junk: float = 0.45
    """Maximum probability that a page is junk by several measures at once: praise, a firm in the title, no people, no dates."""
    judge_from_characters: int = 100
    """Minimum length of a document for the rules below, which were designed for 50 words and more (Gopher)."""
    judge_from_lines: int = 5
    """Minimum number of lines for the rules about lines, which mean little for a review of one line."""
    min_stopwords: int = 2
    """Minimum number of distinct stop words, out of the commonest words of one character (2: FineWeb-2, cmn_Hani)."""
    max_sign_ratio: float = 0.4
    """Maximum ratio of punctuation and symbols (0.4: data-juicer's wiki recipe, which requires 60 % letters and digits)."""
    max_symbol_ratio: float = 0.2
    """Maximum ratio of symbols that sentences do not have: #, =, arrows, emoji (Gopher: 0.1 per word; code and markup have
    more)."""
    max_top_3gram_ratio: float = 0.256
    """Maximum ratio of characters in the most frequent 3-gram (0.256: FineWeb-2, 2 words)."""
    max_top_5gram_ratio: float = 0.3
    """Maximum ratio of characters in the most frequent 5-gram (FineWeb-2: 0.201, 3 words; news that list companies have
    0.27)."""
    max_top_7gram_ratio: float = 0.35
    """Maximum ratio of characters in the most frequent 7-gram (FineWeb-2: 0.171, 4 words; short articles repeat their subject
    and have 0.3)."""
    max_dup_8gram_ratio: float = 0.7
    """Maximum ratio of characters in 8-grams that occurred before in the document (FineWeb-2: 0.198, 5 words; most laws have
    more)."""
    max_dup_10gram_ratio: float = 0.6
    """The same for 10-grams (0.6: data-juicer's recipe for Chinese; FineWeb-2: 0.182, 6 words)."""
    max_dup_13gram_ratio: float = 0.5
    """The same for 13-grams (0.5: ChineseWebText; FineWeb-2: 0.154, 8 words)."""
    max_dup_17gram_ratio: float = 0.5
    """The same for 17-grams (FineWeb-2: 0.127, 10 words)."""
    min_mean_line_length: float = 5.0
    """Minimum mean length of lines, in characters (ChineseWebText: 10, which drops poems)."""
    min_ended_line_ratio: float = 0.02
    """Minimum ratio of lines that end with punctuation (FineWeb-2: 0.106, which drops poems)."""
    max_short_line_ratio: float = 1.0
    """Maximum ratio of lines of less than 10 characters. Disabled, as in FineWeb-2."""
    max_bullet_line_ratio: float = 0.9
    """Maximum ratio of lines that start with a bullet (0.9: Gopher)."""
    max_ellipsis_line_ratio: float = 0.3
    """Maximum ratio of lines that are cut off: long ones that end with `...` or one `…`, not with `……` (0.3: Gopher)."""
    max_dup_line_ratio: float = 0.5
    """Maximum ratio of lines that repeat an earlier line of the document (FineWeb-2: 0.287, which drops articles with code)."""
    max_dup_line_character_ratio: float = 0.2
    """Maximum ratio of characters in such lines (0.2: Gopher; FineWeb-2: 0.1)."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            **{
                name: (0, 1 if name.endswith("_ratio") else math.inf)
                for name in self.__dataclass_fields__
                if name.startswith(("min_", "max_", "judge_"))
            },
        )
        if self.min_characters > self.max_characters:
            raise ValueError(f"min_characters {self.min_characters} is above max_characters {self.max_characters}")


@dataclass(frozen=True, kw_only=True)
class DedupConfig:
    """`[dedup]`: which documents count as duplicates."""

    exact: bool = True
    """Drop documents whose text is the same except for width, case, punctuation and white space."""
    near: bool = True
    """Drop near duplicates: documents with similar sets of character n-grams, found by MinHash."""
    similarity: float = 0.75
    """Minimum similarity of near duplicates (Jaccard similarity of their sets of n-grams, estimated to about 0.04). 0: all
    documents that share a band."""
    ngram_size: int = 5
    """Characters per n-gram. Chinese needs less than English: 5 (data-juicer) is about three words."""
    bands: int = 14
    """Bands of the MinHash signature; more bands find more pairs. Half of the pairs of similarity (1 / bands) ** (1 / rows)
    become candidates: 0.72 for 14 x 8 (datatrove), 0.79 for 20 x 13 (NeMo Curator)."""
    rows: int = 8
    """Hashes per band; more rows find fewer pairs."""
    short_characters: int = 150
    """Maximum length of short documents, in letters and digits. They are also compared exactly: bands miss one in twelve near
    duplicates of short texts. 0: by bands only."""
    containment: float = 0.9
    """Drop a short document if a longer one (of up to 500 letters and digits) has at least this ratio of its n-grams. 0: keep
    it."""
    min_paragraph_characters: int = 30
    """Minimum length of lines, in letters and digits, that are removed if an earlier document has them. 0: no lines are
    compared."""
    withdrawn: str = ""
    """URL of a list of document ids, one per line, that must not be used. Their duplicates are dropped too."""

    def __post_init__(self) -> None:
        check_ranges(self, similarity=(0, 1), ngram_size=(1, 1_000), bands=(1, 4_096), rows=(1, 4_096))
        check_ranges(self, min_paragraph_characters=(0, math.inf), short_characters=(0, 250), containment=(0, 1))
        if self.bands * self.rows > 4_096:
            raise ValueError(f"bands {self.bands} x rows {self.rows} are more than 4,096 hashes per document")
        if 0 < self.min_paragraph_characters < 10:
            raise ValueError(
                f"min_paragraph_characters {self.min_paragraph_characters} is below 10: common phrases would be removed"
            )


@dataclass(frozen=True, kw_only=True)
class DecontaminationConfig:
    """`[decontamination]`: documents that contain evaluation texts are dropped."""

    inputs: tuple[str, ...] = ()
    """Evaluation files, folders or globs, any fsspec URL: tables (tsv), JSON, JSON lines, tagged characters or plain lines."""
    enabled: bool = True
    """Whether to compare documents with evaluation texts. If not, models may be trained on them."""
    ngram_size: int = 13
    """Characters per n-gram."""
    min_ngram_ratio: float = 0.5
    """Drop a document that contains at least this ratio of the n-grams of an evaluation text."""
    min_matching_ngrams: int = 30
    """Also drop a document that contains at least this many of them, however long the text is."""

    def __post_init__(self) -> None:
        if self.ngram_size < 5:
            raise ValueError(f"ngram_size {self.ngram_size} is below 5: common phrases would count as leaks")
        check_ranges(self, ngram_size=(5, 1_000), min_matching_ngrams=(1, math.inf))
        if not 0 < self.min_ngram_ratio <= 1:
            raise ValueError(f"min_ngram_ratio {self.min_ngram_ratio} is not between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class VocabularyConfig:
    """`[vocabulary]`: a given vocab.txt, or one built from the documents."""

    url: str = ""
    """URL of a vocab.txt, one token per line. Empty: built from the kept documents."""
    size: int = 21_128
    """Maximum number of tokens of a built vocabulary."""
    min_count: int = 2
    """Minimum count of a character or word for a built vocabulary."""
    do_lower_case: bool = True
    """Lower-case Latin letters and strip their accents, as BERT's Chinese vocabulary expects."""
    map_punctuation: bool = True
    """Replace punctuation that the vocabulary lacks by marks that it has: “ by ", — by -, … by . (Google's Chinese vocabulary
    lacks these, 0.8 % of the tokens of news). Training, exports and inference all do the same."""

    def __post_init__(self) -> None:
        if self.size < 200:
            raise ValueError(f"size {self.size} leaves no room for text: the special tokens and ASCII alone need 200")
        check_ranges(self, size=(200, 2**31 - 1), min_count=(1, math.inf))


@dataclass(frozen=True, kw_only=True)
class WordsConfig:
    """`[words]`: how text is segmented into words, whose tokens are masked together."""

    segmenter: str = "jieba"
    """`jieba`, as in NEZHA; `given`: words are separated by white space in the text; or `module:function`: a function that can
    be imported, takes a list of texts and returns a list of words for each."""
    user_dictionary: tuple[str, ...] = ()
    """Files of words that jieba does not know, as any fsspec URL: a word per line, optionally with its frequency and tag."""

    def __post_init__(self) -> None:
        module, _, function = self.segmenter.partition(":")
        names = [*module.split("."), function] if ":" in self.segmenter else []
        if self.segmenter not in ("jieba", "given") and not (names and all(name.isidentifier() for name in names)):
            raise ValueError(f"segmenter {self.segmenter!r} is neither 'jieba' nor 'given' nor a 'module:function'")
        if self.user_dictionary and self.segmenter != "jieba":
            raise ValueError(f"user_dictionary is for jieba; segmenter {self.segmenter!r} does not use it")


@dataclass(frozen=True, kw_only=True)
class MaskingConfig:
    """`[masking]`: which tokens the model has to predict. Names are those of BERT's create_pretraining_data.py."""

    policy: MaskingPolicy = "word"
    """What is masked as a whole: `word`, the tokens of a word; `token`, a single token; `span`, up to ten consecutive words
    (SpanBERT); `entity`, a phrase of the list `phrases`, or else a word."""
    phrases: str = ""
    """URL of a list of phrases for `entity`, one per line."""
    masked_lm_prob: float = 0.15
    """Ratio of tokens to predict."""
    max_predictions_per_seq: int = 0
    """Maximum number of predicted tokens per sequence; 0: no limit."""
    static_draws: int = 1
    """Masks stored in the shards per sequence; epoch e uses mask e mod static_draws. 0: new masks are drawn in every epoch of
    training."""

    def __post_init__(self) -> None:
        if not 0 < self.masked_lm_prob < 1:
            raise ValueError(f"masked_lm_prob {self.masked_lm_prob} is not between 0 and 1")
        check_ranges(self, max_predictions_per_seq=(0, math.inf))
        if not 0 <= self.static_draws <= MOST_DRAWS:
            raise ValueError(
                f"static_draws {self.static_draws} is not between 0 and {MOST_DRAWS}; set 0 to draw new masks in every epoch"
            )
        if self.policy == "entity" and not self.phrases:
            raise ValueError("policy 'entity' needs phrases: the URL of a list of phrases, one per line")
        if self.phrases and self.policy != "entity":
            raise ValueError(f"phrases are only used by policy 'entity', not by {self.policy!r}")


@dataclass(frozen=True, kw_only=True)
class PairsConfig:
    """`[pairs]`: how the sentences of a document become sequences of one or two segments."""

    task: PairTask = "nsp"
    """Second training task. `nsp`: does segment B follow A? `sop`: are two consecutive segments in order (ALBERT)? `none`: no
    second task, one segment."""
    layout: Layout = "segments"
    """Content of a sequence. `segments`: as much text of a document as fits. `sentences`: a pair of single sentences, or one
    sentence with task `none`. Only with task `none`: `document_sentences`, whole sentences of a document (which is what
    `segments` means there); `full_sentences`, whole sentences across documents, with [SEP] between documents."""
    short_seq_prob: float = 0.1
    """Ratio of sequences that are made shorter than the limit, so that the model sees short ones too."""
    dupe_factor: int = 1
    """How often each document is used, with different pairs each time."""

    def __post_init__(self) -> None:
        check_ranges(self, dupe_factor=(1, MOST_DRAWS), short_seq_prob=(0, 1))
        if self.task != "none" and self.layout in ("full_sentences", "document_sentences"):
            raise ValueError(f"layout {self.layout!r} makes one segment, task {self.task!r} needs two; set task = 'none'")


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """Everything that `prepare` needs: sources, and what to do with them."""

    sources: tuple[SourceConfig, ...]
    sequence_lengths: tuple[int, ...]
    """Maximum length of sequences, one value per set of shards, in tokens, including [CLS] and [SEP]."""
    seed: int = 12_345
    validation_ratio: float = 0.005
    """Ratio of documents, chosen by hash, that are set aside for validation and never trained on."""
    filters: FilterConfig = field(default_factory=FilterConfig)
    dedup: DedupConfig = field(default_factory=DedupConfig)
    decontamination: DecontaminationConfig = field(default_factory=DecontaminationConfig)
    words: WordsConfig = field(default_factory=WordsConfig)
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)

    def __post_init__(self) -> None:
        for length in self.sequence_lengths:
            if length > LONGEST_SEQUENCE:
                raise ValueError(f"sequence length {length} is above {LONGEST_SEQUENCE:,}: shards store positions in 16 bits")
