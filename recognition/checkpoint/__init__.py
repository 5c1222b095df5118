"""Checkpoints that are whole or absent, and refused by name when they are damaged.

It knows nothing of what is stored: tensors and JSON by file name, for any system that trains.
"""

from recognition.checkpoint.manifest import DamagedCheckpoint
from recognition.checkpoint.opening import Checkpoint, newest_checkpoint, open_checkpoint
from recognition.checkpoint.store import CheckpointStore
from recognition.checkpoint.tensors import TensorFile, write_tensors
from recognition.checkpoint.writing import CheckpointNotWritten

__all__ = [
    "Checkpoint",
    "CheckpointNotWritten",
    "CheckpointStore",
    "DamagedCheckpoint",
    "TensorFile",
    "newest_checkpoint",
    "open_checkpoint",
    "write_tensors",
]
