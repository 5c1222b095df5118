"""Time per picture: in turn, the fastest, the first not counted, per picture and not per batch."""

from pathlib import Path

import numpy as np
import pytest

import recognition.export.latency as latency
from recognition.errors import InputError
from recognition.export.latency import latencies_ms
from tests.embedding.test_models import SIZE, linear_onnx


class Clock:
    """Sessions whose runs take what a list says, and what was run in which order."""

    def __init__(self, monkeypatch, seconds):
        self.seconds = {name: iter(values) for name, values in seconds.items()}
        self.now, self.order, self.shapes = 0.0, [], []
        monkeypatch.setattr(latency, "open_session", self.open)
        monkeypatch.setattr(latency.time, "perf_counter", lambda: self.now)

    def open(self, path, *, threads):
        clock, real = self, latency.onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

        class Session:
            def get_inputs(self):
                return real.get_inputs()

            def run(self, outputs, inputs):
                real.run(outputs, inputs)
                clock.order.append((path.stem, threads))
                clock.shapes.append(inputs["x"].shape)
                clock.now += next(clock.seconds[path.stem])

        return Session()


@pytest.fixture
def files(tmp_path) -> list[Path]:
    return [linear_onnx(tmp_path / "a.onnx"), linear_onnx(tmp_path / "b.onnx", layout="NHWC", batch=1)]


def test_the_fastest_of_the_counted_runs_per_picture(files, monkeypatch):
    clock = Clock(monkeypatch, {"a": [0.1, 0.9, 0.4, 0.8], "b": [0.5, 0.3, 0.6, 0.7]})
    found = latencies_ms(files, 1, size=(SIZE, SIZE), threads=3, repeats=3)
    assert found == pytest.approx([400, 300])  # a's first run, of 0.1 s, is not counted
    assert clock.order == [("a", 3), ("b", 3)] * 4
    assert set(clock.shapes) == {(1, 3, SIZE, SIZE), (1, SIZE, SIZE, 3)}


def test_a_batch_is_shared_out_and_a_file_of_another_batch_has_none(files, monkeypatch):
    clock = Clock(monkeypatch, {"a": [1, 0.8, 0.9]})
    assert latencies_ms(files, 4, size=(SIZE, SIZE), threads=1, repeats=2) == [pytest.approx(200), None]
    assert clock.order == [("a", 1)] * 3
    assert set(clock.shapes) == {(4, 3, SIZE, SIZE)}


def test_real_sessions_take_time(files):
    found = latencies_ms(files, 1, size=(SIZE, SIZE), threads=1, repeats=2)
    assert all(0 < value < 1e4 for value in found)
    assert np.isfinite(found).all()


def test_a_file_that_fails_is_named(files):
    with pytest.raises(InputError, match=r"a\.onnx fails on input \(1, 3, 9, 9\)"):
        latencies_ms(files[:1], 1, size=(9, 9), threads=1)
