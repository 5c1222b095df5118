"""YuNet (Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector", MIR 20, 2023), as the OpenCV Zoo has it."""

from __future__ import annotations

import numpy as np
import onnxruntime

from recognition.faces.detection import Face, faces_of_strides, on_canvas

STRIDES = (8, 16, 32)
# One number, then box and points, of each cell of each stride; `cls` and `obj` are two factors of the score.
HEADS = ("cls", "obj", "bbox", "kps")
OUTPUTS = frozenset(f"{head}_{stride}" for head in HEADS for stride in STRIDES)
MAX_IOU = 0.3  # as cv2.FaceDetectorYN


class YuNet:
    """Trained on faces of about 10 to 300 pixels; pictures with larger ones must shrink first."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        fixed: tuple[int, int] | None,
        *,
        sha256: str,
        min_score: float,
    ) -> None:
        self.session, self.fixed, self.sha256, self.min_score = session, fixed, sha256, min_score
        self.input = session.get_inputs()[0].name
        self.names = [f"{head}_{stride}" for stride in STRIDES for head in HEADS]

    def __repr__(self) -> str:
        return f"YuNet(sha256={self.sha256}, min_score={self.min_score})"

    def detect(self, pixels_HWC: np.ndarray) -> list[Face]:
        """Faces in a picture, uint8 (H, W, 3) RGB, the surest first."""
        canvas_HWC, scale = on_canvas(pixels_HWC, self.fixed, STRIDES[-1])
        x_1CHW = np.ascontiguousarray(canvas_HWC[None, :, :, ::-1].transpose(0, 3, 1, 2), np.float32)  # BGR
        outputs = iter(self.session.run(self.names, {self.input: x_1CHW}))
        boxes, scores, points = [], [], []
        for stride in STRIDES:
            cls_N, obj_N, bbox_N4, kps_N10 = (next(outputs)[0] for _ in HEADS)
            score_N = np.sqrt(cls_N[:, 0].clip(0, 1) * obj_N[:, 0].clip(0, 1))
            (found,) = np.nonzero(score_N >= self.min_score)
            row_N, column_N = np.divmod(found, canvas_HWC.shape[1] // stride)
            cell_N2 = np.stack([column_N, row_N], 1).astype(np.float32)
            center_N2 = (cell_N2 + bbox_N4[found, :2]) * stride
            half_N2 = np.exp(bbox_N4[found, 2:]) * (stride / 2)
            boxes.append(np.concatenate([center_N2 - half_N2, center_N2 + half_N2], 1))
            points.append((kps_N10[found].reshape(-1, 5, 2) + cell_N2[:, None]) * stride)
            scores.append(score_N[found])
        return faces_of_strides(boxes, scores, points, max_iou=MAX_IOU, scale=scale)
