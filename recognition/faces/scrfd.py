"""SCRFD (Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", ICLR 2022), as InsightFace
has it: `det_10g.onnx` of buffalo_l, `scrfd_500m_bnkps.onnx` and the others that give points."""

from __future__ import annotations

import numpy as np
import onnxruntime

from recognition.faces.detection import Face, faces_of_strides, on_canvas

STRIDES = (8, 16, 32)
ANCHORS = 2  # of each cell, both in its corner
MAX_IOU = 0.4  # as InsightFace


class SCRFD:
    """`names`: of the outputs score, box, points of stride 8, then of 16, then of 32."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        fixed: tuple[int, int] | None,
        names: list[str],
        *,
        sha256: str,
        min_score: float,
    ) -> None:
        self.session, self.fixed, self.names, self.sha256, self.min_score = session, fixed, names, sha256, min_score
        self.input = session.get_inputs()[0].name

    def __repr__(self) -> str:
        return f"SCRFD(sha256={self.sha256}, min_score={self.min_score})"

    def detect(self, pixels_HWC: np.ndarray) -> list[Face]:
        """Faces in a picture, uint8 (H, W, 3) RGB, the surest first."""
        canvas_HWC, scale = on_canvas(pixels_HWC, self.fixed, STRIDES[-1])
        x_1CHW = np.ascontiguousarray(canvas_HWC[None].transpose(0, 3, 1, 2), np.float32)
        outputs = iter(self.session.run(self.names, {self.input: (x_1CHW - 127.5) / 128}))
        boxes, scores, points = [], [], []
        for stride in STRIDES:
            # Some exports have a batch dimension, some have not.
            score_N, distance_N4, kps_N10 = (next(outputs).reshape(-1, columns) for columns in (1, 4, 10))
            (found,) = np.nonzero(score_N[:, 0] >= self.min_score)
            row_N, column_N = np.divmod(found // ANCHORS, canvas_HWC.shape[1] // stride)
            anchor_N2 = np.stack([column_N, row_N], 1).astype(np.float32) * stride
            distance_N4 = distance_N4[found] * stride
            boxes.append(np.concatenate([anchor_N2 - distance_N4[:, :2], anchor_N2 + distance_N4[:, 2:]], 1))
            points.append(kps_N10[found].reshape(-1, 5, 2) * stride + anchor_N2[:, None])
            scores.append(score_N[found, 0])
        return faces_of_strides(boxes, scores, points, max_iou=MAX_IOU, scale=scale)
