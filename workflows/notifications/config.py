"""`[notify]` of a recipe: who is told of failures and promotions."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NotifyConfig:
    """`[notify]`: told in JSON when a run fails, and when a model is promoted or refused. Nothing else depends on it."""

    command: tuple[str, ...] = ()
    """A program and its arguments, which gets the event on standard input and its name and message in the variables
    NEZHA_PIPE_EVENT and NEZHA_PIPE_MESSAGE: ["mail", "-s", "nezha-pipe", "team@example.org"]."""
    url: str = ""
    """A webhook, to which the event is posted. One that is a secret belongs in an environment variable: "$NOTIFY_URL"."""
    timeout_seconds: float = 120.0
    """For how long a command that fails, or a URL that does not answer, is tried again."""

    def __post_init__(self) -> None:
        if self.url and not self.url.startswith(("http://", "https://", "$")):
            raise ValueError(f"url {self.url!r} is neither http://, https:// nor the $NAME of an environment variable")
        if not self.timeout_seconds > 0:
            raise ValueError(f"timeout_seconds {self.timeout_seconds:g} is not above 0")
