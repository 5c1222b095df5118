"""Gender and age of a face, as InsightFace's genderage.onnx guesses them from its looks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from generation.analysis.crops import CropModel, crop_of, insightface_matrix, open_crop_model

GENDERS = ("female", "male")
SIZES = {3: 96}


@dataclass(frozen=True)
class GenderAge:
    """`gender`: one of GENDERS; `margin`: by how much its number is the greater one; `age_years`; `by`: the file."""

    gender: str
    margin: float
    age_years: int
    by: str


@dataclass(frozen=True, eq=False)
class GenderAgeModel:
    """`facts` (JSON) is what is known of the model."""

    model: CropModel

    @property
    def facts(self) -> dict[str, str]:
        return {"file": self.model.path.name, "sha256": self.model.sha256}

    def __call__(self, pixels_HWC: np.ndarray, box_4: np.ndarray) -> GenderAge:
        """Of the face in that box x1, y1, x2, y2 of a picture, uint8 (H, W, 3) RGB."""
        crop = crop_of(pixels_HWC, insightface_matrix(box_4, self.model.size), self.model.size)
        female, male, century = self.model(crop.pixels_SSC).tolist()
        return GenderAge(GENDERS[male > female], abs(male - female), round(century * 100), self.model.path.name)


def open_gender_age(path: Path, *, threads: int = 1) -> GenderAgeModel:
    """The model from its file; InputError as `open_crop_model` has it."""
    return GenderAgeModel(open_crop_model(path, "gender and age", SIZES, threads=threads))
