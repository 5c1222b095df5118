"""Files that show something: pictures, which are upright, and the frames of videos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recognition.data.decode import upright_image
from recognition.errors import InputError

PICTURES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"))
VIDEOS = frozenset((".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"))


def frames_of(path: Path, every: int) -> Iterator[tuple[str | None, np.ndarray]]:
    """(number, picture uint8 (H, W, 3)) of a video's frames, or of the one picture; InputError for what is neither."""
    if path.suffix.lower() in PICTURES:
        yield None, np.asarray(upright_image(path.read_bytes(), lambda: str(path)))
        return
    try:
        import av
    except ImportError as error:
        raise InputError("videos need PyAV: pip install -e '.[generation]'") from error
    try:
        with av.open(str(path)) as video:
            for number, frame in enumerate(video.decode(video=0)):
                if number % every == 0:
                    yield f"{number:06d}", frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, IndexError) as error:
        raise InputError(f"{path} cannot be read as a video ({error})") from error
