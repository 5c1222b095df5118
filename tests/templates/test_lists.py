"""The published lists, and what is said of those that are not as published."""

import numpy as np
import pytest

from recognition.errors import InputError
from recognition.templates import lists
from recognition.templates.lists import read_faces, read_subjects, read_template_pairs, search_lists
from tests.templates.trees import ijb_tree


@pytest.mark.parametrize("prefix", ["ijbb", "ijbc"])
def test_lists_are_read_as_they_were_written(tmp_path, monkeypatch, prefix):
    names, templates, media, scores, points, subject_of, pairs = ijb_tree(tmp_path, prefix)
    faces = read_faces(tmp_path, prefix)
    assert faces.names == names
    assert (faces.template_N.tolist(), faces.media_N.tolist()) == (templates, media)
    np.testing.assert_allclose(faces.score_N, scores, atol=1e-6)
    np.testing.assert_allclose(faces.points_N52, points, atol=1e-4)
    for chunk in (1, 30, 1 << 24):
        monkeypatch.setattr(lists, "CHUNK_BYTES", chunk)
        found = read_template_pairs(tmp_path, prefix)
        assert list(zip(found.first_P.tolist(), found.second_P.tolist(), found.issame_P.astype(int).tolist())) == pairs
    galleries, probes = search_lists(tmp_path, prefix)
    assert [gallery.template_T.tolist() for gallery in galleries] == [[100, 102, 104, 106], [101, 103, 105, 107]]
    assert probes.subject_T.tolist() == [subject_of[template] for template in probes.template_T.tolist()]


def test_without_its_lists_there_is_no_search_and_with_some_of_them_an_error(tmp_path):
    ijb_tree(tmp_path)
    meta = tmp_path / "meta"
    (meta / "ijbc_1N_gallery_G2.csv").unlink()
    with pytest.raises(InputError, match="ijbc_1N_gallery_G2.csv: cannot be read"):
        search_lists(tmp_path, "ijbc")
    (meta / "ijbc_1N_gallery_G1.csv").unlink()
    (meta / "ijbc_1N_probe_mixed.csv").unlink()
    assert search_lists(tmp_path, "ijbc") is None


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("name_5pts_score", "1.jpg 1 2 3\n", "line 1 is '1.jpg 1 2 3'; expected a name and 11 numbers"),
        ("name_5pts_score", "1.jpg " + "a " * 11 + "\n", "something else than numbers"),
        ("name_5pts_score", "1.jpg " + "nan " * 11 + "\n", "not finite"),
        ("name_5pts_score", "", "holds no pictures"),
        ("name_5pts_score", "1.jpg " + "1 " * 11 + "\n", "has 1 pictures and .*tid_mid.txt"),
        ("template_pair_label", "1 2 1\n3 4\n", "lines that are not `template template 1|0`"),
        ("template_pair_label", "1 2 1\n3 x 0\n", "lines that are not `template template 1|0`"),
        ("template_pair_label", "1 2\n1 4\n0 1\n", "lines that are not `template template 1|0`"),
        ("template_pair_label", "1 2 5\n", "holds no lines"),
        ("template_pair_label", "", "holds no lines"),
    ],
)
@pytest.mark.filterwarnings("ignore:string or file could not be read:DeprecationWarning")
def test_lists_that_are_not_as_published_are_named(tmp_path, file, text, message):
    ijb_tree(tmp_path)
    (tmp_path / "meta" / f"ijbc_{file}.txt").write_text(text)
    read = read_faces if file == "name_5pts_score" else read_template_pairs
    with pytest.raises(InputError, match=message):
        read(tmp_path, "ijbc")
    (tmp_path / "meta" / f"ijbc_{file}.txt").unlink()
    with pytest.raises(InputError, match=r"cannot be read \(No such file"):
        read(tmp_path, "ijbc")


@pytest.mark.parametrize("line", [0, 2])
def test_pictures_in_another_order_are_noticed(tmp_path, line):
    ijb_tree(tmp_path)
    path = tmp_path / "meta" / "ijbc_face_tid_mid.txt"
    lines = path.read_text().splitlines()
    lines[line], lines[line + 1] = lines[line + 1], lines[line]
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=f"ijbc_face_tid_mid.txt: line {line + 1} is"):
        read_faces(tmp_path, "ijbc")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("head\n1;2\n", "line 2 is '1;2'"),
        ("head\n", "holds no templates"),
        ("head\n5,1,a\n5,2,b\n", "line 3 gives template 5 to another subject"),
    ],
)
def test_subjects_that_are_not_as_published_are_named(tmp_path, text, message):
    (tmp_path / "g.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_subjects(tmp_path / "g.csv")
