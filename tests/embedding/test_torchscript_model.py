"""TorchScript runs only what a network needs: honest archives give the network's embeddings, others touch no file."""

import io
import os
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from recognition.embedding.models import open_embedder
from recognition.embedding.torchscript_gate import require_runnable
from recognition.embedding.torchscript_model import is_torchscript
from recognition.errors import InputError
from tests.filling import filled_backbone

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Duplicate name:UserWarning")

X = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


class Net(nn.Module):
    """Layers of all the usual kinds, with the checks that torch writes around them when it scripts them."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.PReLU(8), nn.Dropout(0.4))
        self.attention = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Hardsigmoid())
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 49, 6), nn.LayerNorm(6))

    def forward(self, x):
        x = self.body(x)
        return nn.functional.normalize(self.head(x * self.attention(x)))


class Twofold(Net):
    def forward(self, x):
        emb = super().forward(x)
        return emb.norm(dim=1, keepdim=True), emb


def saved(script, path):
    torch.jit.save(script, path)
    return path


def edited(source, path, edit):
    """The archive with `edit(name, bytes) -> [(name, bytes), ...]` done to each entry."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            for name, data in edit(entry.filename, old.read(entry)):
                new.writestr(name, data)
    return path


@pytest.mark.parametrize("suffix", [".pt", ".ts", ".torchscript", ".pth"])
@pytest.mark.parametrize("how", ["script", "trace"])
def test_an_honest_archive_is_recognised_by_its_content_and_gives_its_embeddings(tmp_path, how, suffix):
    net = Net().eval()
    script = torch.jit.script(net) if how == "script" else torch.jit.trace(net, X)
    model = open_embedder(saved(script, tmp_path / f"a{suffix}"))
    with torch.inference_mode():
        torch.testing.assert_close(model(X), net(X), rtol=0, atol=1e-6)
    assert model.size is None
    assert model.facts["format"] == "torchscript"
    assert model.facts["normalisation_from"] == "default"
    assert len(model.facts["file_sha256"]) == 64


def test_real_backbones_go_through(tmp_path):
    x = torch.rand(2, 3, 112, 112) * 2 - 1
    for name in ("mbf_tiny", "vit_tiny"):
        net = filled_backbone(name)
        model = open_embedder(saved(torch.jit.trace(net, x), tmp_path / f"{name}.pt"))
        with torch.inference_mode():
            torch.testing.assert_close(model(x), net(x))


def test_one_that_was_saved_in_training_mode_is_put_into_eval_mode(tmp_path):
    model = open_embedder(saved(torch.jit.script(Net().train()), tmp_path / "a.pt"))
    torch.testing.assert_close(model(X), model(X), rtol=0, atol=1e-6)


def test_of_several_outputs_the_longest_is_the_embedding(tmp_path):
    net = Twofold().eval()
    model = open_embedder(saved(torch.jit.trace(net, X), tmp_path / "a.pt"))
    with torch.inference_mode():
        torch.testing.assert_close(model(X), net(X)[1])


def test_the_preprocessing_asked_for_is_what_it_sees(tmp_path):
    class Flat(nn.Module):
        def forward(self, x):
            return x.flatten(1)

    path = saved(torch.jit.script(Flat()), tmp_path / "a.pt")
    found = open_embedder(path, preprocess="raw,bgr")(X)
    torch.testing.assert_close(found, ((X * 127.5 + 127.5).flip(1)).flatten(1), rtol=0, atol=1e-4)


class SavesWhenRun(nn.Module):
    def __init__(self, target):
        super().__init__()
        self.target: str = target

    def forward(self, x):
        torch.save(x, self.target)
        return x.flatten(1)


class SavesWhenLoaded(nn.Module):
    def __init__(self, target):
        super().__init__()
        self.target: str = target

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.target, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.target = state[0]
        self.training = state[1]
        torch.save(self.training, self.target)

    def forward(self, x):
        return x.flatten(1)


class MapsAFile(nn.Module):
    def __init__(self, target):
        super().__init__()
        self.target: str = target

    def forward(self, x):
        return x.flatten(1) + torch.from_file(self.target, True, 4).fill_(1.0).sum()


class DrawsWhenLoaded(nn.Module):
    """Nothing but a random number: what runs at load is refused whatever it does."""

    @torch.jit.export
    def __getstate__(self) -> bool:
        return self.training

    @torch.jit.export
    def __setstate__(self, state: bool) -> None:
        self.training = state
        torch.rand(1)

    def forward(self, x):
        return x.flatten(1)


def test_what_runs_when_it_is_loaded_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"code/.*line \d+: '__setstate__' can run something"):
        open_embedder(saved(torch.jit.script(DrawsWhenLoaded()), tmp_path / "a.pt"))


def renamed(name, data):
    return [(name.replace("/code/", "/CODE/"), data)]


def aliased(name, data):
    """`torch.save` by another name: nothing in the text says that it is called."""
    return [(name, data.replace(b"torch.save(x, target)", b"t = torch\n    t.save(x, target)"))]


def unchanged(name, data):
    return [(name, data)]


@pytest.mark.parametrize("edit", [unchanged, renamed, aliased])
@pytest.mark.parametrize("kind", [SavesWhenRun, SavesWhenLoaded, MapsAFile])
def test_what_would_touch_a_file_is_refused_and_touches_none(tmp_path, kind, edit):
    target = tmp_path / "written"
    path = edited(saved(torch.jit.script(kind(str(target)).eval()), tmp_path / "a.pt"), tmp_path / "b.pt", edit)
    if kind is MapsAFile:
        target.write_bytes(bytes(16))
    with pytest.raises(InputError, match=r"refused, nothing was (executed|run)"):
        open_embedder(path)(X)
    assert not target.exists() or target.read_bytes() == bytes(16)
    # The archive does what it is said to do, where nobody looks at it first.
    torch.jit.load(path)(X)
    assert target.read_bytes() != bytes(16)


def test_a_name_that_no_list_of_words_knows_is_found_in_the_graph(tmp_path):
    """The second gate by itself: the word is hidden from the first, and only what was compiled shows the operator."""
    script = torch.jit.load(saved(torch.jit.script(SavesWhenRun(str(tmp_path / "w"))), tmp_path / "a.pt"))
    with pytest.raises(InputError, match="uses aten::save, not among"):
        require_runnable(script.forward.inlined_graph, "a")
    require_runnable(torch.jit.script(Net()).inlined_graph, "a")


class Branching(nn.Module):
    def forward(self, x):
        for _ in range(x.size(0)):
            if bool(x.sum() > 1e9):
                torch.manual_seed(1)
        return x.flatten(1)


class Forking(nn.Module):
    def forward(self, x):
        return torch.jit.wait(torch.jit.fork(torch.flatten, x, 1))


@pytest.mark.parametrize(("kind", "operator"), [(Branching, "aten::manual_seed"), (Forking, "prim::fork|graph")])
def test_operators_are_looked_for_in_every_block(tmp_path, kind, operator):
    with pytest.raises(InputError, match=operator):
        open_embedder(saved(torch.jit.script(kind()), tmp_path / "a.pt"))


def test_objects_of_classes_in_c_are_refused(tmp_path):
    path = saved(torch.jit.script(Net()), tmp_path / "a.pt")

    def foreign(name, data):
        if name.endswith("/data.pkl"):
            data = b"\x80\x02c__torch__.torch.classes.quantized\nLinearPackedParamsBase\n)\x81."
        return [(name, data)]

    with pytest.raises(InputError, match="LinearPackedParamsBase"):
        open_embedder(edited(path, tmp_path / "b.pt", foreign))


@pytest.mark.parametrize("space", ["quantized", "c10d", "profiler"])
def test_operators_of_other_libraries_are_refused_before_anything_is_compiled(tmp_path, space):
    path = saved(torch.jit.script(Net()), tmp_path / "a.pt")

    def foreign(name, data):
        return [(name, data.replace(b"torch.prelu", f"ops.{space}.prelu".encode()))]

    with pytest.raises(InputError, match="'ops' can run something"):
        open_embedder(edited(path, tmp_path / "b.pt", foreign))


def test_two_entries_of_one_name_and_unknown_entries_are_refused(tmp_path):
    path = saved(torch.jit.script(Net()), tmp_path / "a.pt")
    twice = edited(path, tmp_path / "b.pt", lambda name, data: [(name, data)] * (2 if name.endswith(".py") else 1))
    with pytest.raises(InputError, match="two entries"):
        open_embedder(twice)
    extra = edited(path, tmp_path / "c.pt", lambda name, data: [(name, data), (name + ".json", b"")])
    with pytest.raises(InputError, match="no part of a network"):
        open_embedder(extra)


def test_damage_and_what_is_no_recogniser_are_named(tmp_path):
    path = saved(torch.jit.script(Net()), tmp_path / "a.pt")
    whole = path.read_bytes()
    (tmp_path / "b.pt").write_bytes(whole[:-200])
    with pytest.raises(InputError, match=r"b\.pt is not a readable PyTorch file"):
        open_embedder(tmp_path / "b.pt")
    flawed = edited(path, tmp_path / "c.pt", lambda n, d: [(n, d[:20] if n.endswith("/data.pkl") else d)])
    with pytest.raises(InputError, match=r"c\.pt.* is not a readable TorchScript archive"):
        open_embedder(flawed)
    broken = edited(path, tmp_path / "d.pt", lambda n, d: [(n, d.replace(b"torch.prelu", b"torch.nothing"))])
    with pytest.raises(InputError, match=r"d\.pt cannot be loaded by torch"):
        open_embedder(broken)

    class NoPictures(nn.Module):
        def forward(self, count: int):
            return count

    with pytest.raises(InputError, match="takes int; a recogniser takes one batch"):
        open_embedder(saved(torch.jit.script(NoPictures()), tmp_path / "e.pt"))
    with pytest.raises(InputError, match=r"a\.pt fails on input \(1, 3, 5, 5\)"):
        open_embedder(path)(torch.zeros(1, 3, 5, 5))


def test_a_map_is_no_embedding(tmp_path):
    model = open_embedder(saved(torch.jit.script(nn.Conv2d(3, 4, 3)), tmp_path / "a.pt"))
    with pytest.raises(InputError, match="not one embedding each"):
        model(X)


def test_only_archives_with_code_are_taken_for_torchscript(tmp_path):
    torch.save(Net().state_dict(), tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(b"nothing")
    with zipfile.ZipFile(tmp_path / "c.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"")
    for path in [tmp_path / name for name in ("a.pt", "b.pt", "c.pt", "d.pt")] + [tmp_path, Path(os.devnull)]:
        assert not is_torchscript(path)
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Net()), buffer)
    (tmp_path / "e.any").write_bytes(buffer.getvalue())
    assert is_torchscript(tmp_path / "e.any")
