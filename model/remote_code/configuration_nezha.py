"""The configuration of a NEZHA encoder, for transformers 4.46 and later (`trust_remote_code=True`).

`model_type` is not "nezha" and the class is not `NezhaConfig`, both of which transformers has up to 4.57: its NEZHA supports
the released form of positions only, and would silently compute something else with other weights. A setting that does not apply
to the positions is null in config.json, so that its NEZHA fails even if it is requested by name.
"""
# mypy: allow-untyped-calls

from typing import Any

from transformers import PretrainedConfig


class NezhaPipeConfig(PretrainedConfig):
    """The shape of the network.

    `positions` is "functional" (NEZHA's), "relative" (learned, clipped at `max_relative_position`) or "absolute" (BERT's, up to
    `max_position_embeddings`; with the others, sequences may have any length). For "functional", `relative_positions` is
    "released" (index clipped at `max_relative_position` and shifted, as in the released code) or "paper" (the offset itself,
    unclipped). `max_relative_position` is None where offsets are not clipped. `max_position_embeddings` is absent unless
    positions are absolute: programs that find it take the smaller of it and the tokenizer's limit.
    """

    model_type = "nezha_pipe"

    def __init__(
        self,
        vocab_size: int = 21_128,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3_072,
        hidden_act: str = "gelu_pytorch_tanh",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        classifier_dropout: float | None = None,
        type_vocab_size: int = 2,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        positions: str = "functional",
        max_position_embeddings: int | None = None,
        relative_positions: str = "released",
        max_relative_position: int | None = 64,
        pad_token_id: int = 0,
        tie_word_embeddings: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tie_word_embeddings = tie_word_embeddings
        self.pad_token_id = pad_token_id
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.classifier_dropout = classifier_dropout
        self.type_vocab_size = type_vocab_size
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.positions = positions
        if max_position_embeddings is not None:
            self.max_position_embeddings = max_position_embeddings
        self.relative_positions = relative_positions
        self.max_relative_position: Any = max_relative_position

    def to_dict(self) -> dict[str, Any]:
        return {"max_position_embeddings": None, **super().to_dict()}


NezhaPipeConfig.register_for_auto_class()  # `save_pretrained` copies this file
