"""What models are called: the shortest that tells them apart."""

import pytest

from recognition.report.names import model_names


@pytest.mark.parametrize(
    ("models", "names"),
    [
        ([{"network": "r50", "file": "runs/a/model.safetensors"}], ["r50"]),
        ([{"file": "exported/x.onnx"}], ["x.onnx"]),
        ([{}], ["the model"]),
        ([{"network": "r50"}, {"network": "r100"}], ["r50", "r100"]),
        ([{"network": "r50", "file": "a/x.pt"}, {"network": "r50", "file": "a/y.pt"}], ["x.pt", "y.pt"]),
        ([{"network": "r50", "file": "a/m.pt"}, {"network": "r50", "file": "b/m.pt"}], ["a", "b"]),
        (
            [{"network": "r50", "file": "m.pt", "run": "out/a"}, {"network": "r50", "file": "m.pt", "run": "out/b"}],
            ["a", "b"],
        ),
        (
            [
                {"network": n, "file": f"{folder}/{file}"}
                for n, folder, file in (("r50", "a", "x"), ("r50", "a", "y"), ("r18", "b", "x"))
            ],
            ["r50 · x", "r50 · y", "r18 · x"],
        ),
        ([{"file": "a/x.onnx"}, {"network": "r50", "file": "b/y.pt"}], ["x.onnx", "y.pt"]),
        ([{"network": "r50", "file": "1/m/x"}, {"network": "r50", "file": "2/m/x"}], ["r50 · 1/m/x", "r50 · 2/m/x"]),
        ([{"network": "r50", "file": "x"}, {"network": "r50", "file": "x"}, {"file": "y"}], ["r50 #1", "r50 #2", "y"]),
        ([{"network": "r50", "name": "ours"}, {"network": "r50", "name": "theirs"}], ["ours", "theirs"]),
    ],
)
def test_the_shortest_that_tells_them_apart(models, names):
    assert model_names(models) == names
