"""An example of a task: items with labels.

a text             Example(("房间很干净，服务也好。",), ("1",))             several labels, or none: ("服务", "卫生"), ()
two texts          Example(("他睡了。", "他没睡。"), ("contradiction",))    a number: ("3.5",)
tagged characters  Example(("海", "钓", "厦", "门"), ("O", "O", "B-LOC", "I-LOC"))
a question         Example((passage, question), (answer, another), "DEV_0_QUERY_0")
choices            Example((passage, question, choice, choice, choice), ("2",))
"""

import hashlib
import json
from dataclasses import dataclass, field

from pipeline import storage
from pipeline.errors import TaskError
from pipeline.sources.formats.foreign import refuse_stand_in

START_CHARACTERS = 60
"""As PREVIEW_CHARACTERS of pipeline/dedup/evaluation_texts.py."""
MIN_START = 16
"""Characters of the shortest text that is searched for in documents."""


@dataclass(frozen=True, slots=True)
class Example:
    """Items (texts, or the characters of a sentence) with their labels."""

    items: tuple[str, ...]
    labels: tuple[str, ...]
    name: str = ""
    """Id of a question. Candidates of one question share it."""
    start: int | None = None
    """Where the first gold answer to a question begins in its passage; None: it is not in there."""
    place: str = field(default="", compare=False)
    """Where the file has it: "line 7"."""
    has_label: bool = field(default=True, compare=False)
    """Whether the file says a label; no label at all is one, too, where a text may have several."""
    nested: int = field(default=0, compare=False)
    """Entities that were left out because they are inside of others."""

    @property
    def text(self) -> str:
        return "".join(self.items)

    @property
    def digest(self) -> str:
        """Digest of the items, by which predictions of different models are joined."""
        return text_digest(json.dumps(self.items, ensure_ascii=False))

    @property
    def starts(self) -> list[str]:
        """Digests of the starts of texts in it, by which texts that were found in documents are joined; see `start_digest`."""
        texts = (text for text in (*self.items, self.text) if len(text) >= MIN_START)
        return list(dict.fromkeys(map(start_digest, texts)))


def start_digest(text: str) -> str:
    """Return a digest of the start of a text: as much as the stage `evaluation` keeps of it."""
    return text_digest(text[:START_CHARACTERS].strip())


def text_digest(text: str) -> str:
    """Return a digest of a text: 16 hexadecimal digits."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def read_text(url: str) -> str:
    """Read a UTF-8 file, plain or compressed.

    Raises: TaskError for another encoding, and for a file that stands in for the real one.
    """
    try:
        with storage.open_read(url, compression="infer") as file:
            text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaskError(f"{url}: not UTF-8 at byte {error.start}; convert it, e.g. with iconv -f GB18030") from error
    refuse_stand_in(text[:4_096], url)
    return text


def lines(text: str) -> list[str]:
    """Split at line feeds only: reviews contain U+2028 and the like."""
    return [line.removesuffix("\r") for line in text.split("\n")]
