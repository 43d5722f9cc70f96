"""The encoder, where it comes from, and the tasks' heads on it."""

from mtl_bert.model.encoder import EncoderSource, ModelError, Pretrained, Tiny
from mtl_bert.model.multitask import MultiTaskModel

__all__ = ["EncoderSource", "ModelError", "MultiTaskModel", "Pretrained", "Tiny"]
