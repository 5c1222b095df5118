"""The classifier over all identities: margin softmax, sharded over the ranks."""

from recognition.head.margins import CombinedMarginLoss
from recognition.head.partial_fc import HeadOutput, PartialFC

__all__ = ["CombinedMarginLoss", "HeadOutput", "PartialFC"]
