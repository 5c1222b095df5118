"""Where samples come from: record files, folders, lists, drawn faces; (image, label) by index."""

from recognition.data.sources.drawn import SyntheticSource
from recognition.data.sources.files import FileSource, FolderSource, ListSource
from recognition.data.sources.opening import open_source
from recognition.data.sources.record_file import RecordSource
from recognition.data.sources.sample import Sample, Source

__all__ = [
    "FileSource",
    "FolderSource",
    "ListSource",
    "RecordSource",
    "Sample",
    "Source",
    "SyntheticSource",
    "open_source",
]
