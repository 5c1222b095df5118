"""Faces that are known beforehand, by the names of their pictures, in place of those that a detector would find."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from generation.detection import known_face
from recognition.errors import InputError
from recognition.faces.detection import Face


class KnownFaces:
    """`faces`: of each picture, exactly as they are given; `where` they come from."""

    def __init__(self, faces: Mapping[str, Sequence[Face]], where: str) -> None:
        self.faces, self.where = dict(faces), where

    def __repr__(self) -> str:
        return f"KnownFaces({self.where}, {len(self.faces)} pictures)"

    def of(self, picture: str) -> list[Face]:
        """The faces of a picture; InputError for one of which nothing is known."""
        if picture not in self.faces:
            raise InputError(f"{self.where}: nothing is known of {picture!r}; add it, null where it shows no face")
        return list(self.faces[picture])

    @classmethod
    def read(cls, path: Path) -> KnownFaces:
        """From a faces.json of launch/analyze.py, or {"NAME": null, a face, or a list of faces}.

        A face is {"box": [x1, y1, x2, y2], "points": [[x, y], five times] or absent, "score" or absent}. InputError
        for a file that cannot be read or says something else.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError("it is no object of names")
            if isinstance(content.get("pictures"), list):
                content = {entry["picture"]: entry.get("faces", []) for entry in content["pictures"]}
            return cls({name: _faces(name, entry) for name, entry in content.items()}, str(path))
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); name a file of faces") from error
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path} is no file of faces ({error})") from error


def _faces(name: str, entry: Any) -> list[Face]:
    entries = entry if isinstance(entry, list) else [] if entry is None else [entry]
    return [_face(name, each) for each in entries]


def _face(name: str, entry: Any) -> Face:
    found = known_face(name, entry)
    points_52 = np.full((5, 2), np.nan, np.float32) if found.points_52 is None else found.points_52.numpy()
    return Face(found.box_4.numpy(), float(entry.get("score", 1.0)), points_52)
