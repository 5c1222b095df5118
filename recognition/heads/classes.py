"""The 19 classes of CelebAMask-HQ in the order of the published BiSeNet parsers; left is the picture's left."""

from __future__ import annotations

from enum import IntEnum


class Class(IntEnum):
    """Of a pixel; EARRING, NECKLACE and HAT are never drawn."""

    BACKGROUND, SKIN, LEFT_BROW, RIGHT_BROW, LEFT_EYE, RIGHT_EYE, EYEGLASSES = range(7)
    LEFT_EAR, RIGHT_EAR, EARRING, NOSE, MOUTH, UPPER_LIP, LOWER_LIP = range(7, 14)
    NECK, NECKLACE, CLOTH, HAIR, HAT = range(14, 19)


NAMES = (
    "background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear", "ear_r", "nose", "mouth",
    "u_lip", "l_lip", "neck", "neck_l", "cloth", "hair", "hat",
)  # fmt: skip
