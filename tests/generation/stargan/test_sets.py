"""Sets that the commands make: drawn faces in CelebA's layout, and record files with a label for each attribute."""

import numpy as np
import pytest
from PIL import Image

from generation.analysis.known import KnownFaces
from generation.stargan.attributes import HAIR
from generation.stargan.commands import draw, pack
from generation.stargan.drawing import DrawnFaces, draw_face, draw_faces
from generation.stargan.pictures import open_pictures
from recognition.data.recordio import RecordReader
from recognition.errors import InputError
from recognition.heads import Class
from tests.generation.stargan.small_gan import NAMES, labels, write_celeba


def parsed(module, *words):
    import argparse

    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def test_drawn_faces_have_the_attributes_that_the_table_says(tmp_path, capsys):
    draw.run(parsed(draw, tmp_path / "set", "--pictures", 12, "--size", 32, "--masks", "--workers", 1, "--seed", 4))
    assert "drawn: 12 pictures" in capsys.readouterr().out
    found = open_pictures(tmp_path / "set", None, None, 32, test_size=0)
    assert len(found) == 12
    for index in range(12):
        face = draw_face(DrawnFaces(12, 32, 4), index)
        assert (found.read(index) == face.pixels_HWC).all()
        assert dict(zip(found.names, found.labels_NA[index])) == face.attributes
        mask = np.asarray(Image.open(tmp_path / "set" / "masks" / f"{index + 1:06}.png"))
        assert (mask == face.mask_HW).all()
        assert (mask == Class.SKIN).mean() > 0.05
        known = KnownFaces.read(tmp_path / "set" / "faces.json").of(f"{index + 1:06}.png")
        assert known[0].box_4 == pytest.approx(face.box_4, abs=0.01)
        assert known[0].points_52 == pytest.approx(face.points_52, abs=0.01)
    assert (found.labels_NA[:, [found.names.index(name) for name in HAIR]].sum(1) <= 1).all()
    with pytest.raises(InputError, match="set"):
        draw_faces(tmp_path / "set", DrawnFaces(1, 32))


def test_processes_draw_the_same(tmp_path):
    for workers in (1, 2):
        draw_faces(tmp_path / str(workers), DrawnFaces(3, 32), workers=workers)
    for number in range(1, 4):
        pictures = [(tmp_path / str(workers) / "images" / f"{number:06}.png").read_bytes() for workers in (1, 2)]
        assert pictures[0] == pictures[1]


@pytest.mark.parametrize("names", [NAMES, ("Young",)])
def test_packed_pictures_are_the_files_themselves(names, tmp_path, capsys):
    folder = write_celeba(tmp_path / "celeba", 10)
    pack.run(parsed(pack, folder, tmp_path / "packed", "--attrs", *names))
    assert "packed: 10 pictures with" in capsys.readouterr().out
    found = open_pictures(tmp_path / "packed", None, None, 16)
    assert found.names == names
    assert (found.labels_NA == labels(10)[:, [NAMES.index(name) for name in names]]).all()
    with RecordReader(tmp_path / "packed" / "train.rec") as reader:
        for index, key in enumerate(reader.image_keys):
            payload = (folder / "img_align_celeba" / f"{index + 1:06}.png").read_bytes()
            assert bytes(reader.read(int(key)).payload) == payload


def test_pictures_that_are_nothing_are_told(tmp_path):
    folder = write_celeba(tmp_path / "celeba", 4)
    (folder / "img_align_celeba" / "000002.png").write_bytes(b"")
    with pytest.raises(InputError, match="000002.png is empty"):
        pack.run(parsed(pack, folder, tmp_path / "packed"))
    assert not (tmp_path / "packed").exists()


def test_packed_pictures_keep_their_parts_and_exclude_each_other_still(tmp_path):
    for name in ("angry", "happy"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / "faces" / name / f"{index}.png")
    pack.run(parsed(pack, tmp_path / "faces", tmp_path / "packed"))
    assert open_pictures(tmp_path / "packed", None, None, 8).exclusive
    folder = write_celeba(tmp_path / "celeba", 6)
    lines = [f"{index + 1:06}.png {part}\n" for index, part in enumerate("020012")]
    (folder / "list_eval_partition.txt").write_text("".join(lines))
    pack.run(parsed(pack, folder, tmp_path / "parts"))
    found = open_pictures(tmp_path / "parts", None, None, 16)
    assert not found.exclusive
    assert found.is_test_N.tolist() == [False, True, False, False, False, True]
    (tmp_path / "faces" / "happy").rename(tmp_path / "faces" / "very happy")
    with pytest.raises(InputError, match="attribute 'very happy': names are apart by blanks"):
        pack.run(parsed(pack, tmp_path / "faces", tmp_path / "blank"))


def test_no_processes(tmp_path):
    with pytest.raises(InputError, match="--workers 0: must be at least 1"):
        draw.run(parsed(draw, tmp_path / "set", "--workers", 0))
