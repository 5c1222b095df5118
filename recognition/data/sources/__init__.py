"""Where samples come from: record files, tar and parquet shards, folders, lists, drawn faces; by index."""

from recognition.data.sources.arrow import ArrowSource
from recognition.data.sources.drawn import DRAWN, HeadsSource, SyntheticSource
from recognition.data.sources.files import FileSource, FolderSource, ListSource
from recognition.data.sources.joined import JoinedSource
from recognition.data.sources.opening import open_source
from recognition.data.sources.record_file import RecordSource
from recognition.data.sources.sample import Sample, Source
from recognition.data.sources.shards import rec_folder
from recognition.data.sources.tar_shard import TarSource

__all__ = [
    "DRAWN",
    "ArrowSource",
    "FileSource",
    "FolderSource",
    "HeadsSource",
    "JoinedSource",
    "ListSource",
    "RecordSource",
    "Sample",
    "Source",
    "SyntheticSource",
    "TarSource",
    "open_source",
    "rec_folder",
]
