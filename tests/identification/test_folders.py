"""Who is enrolled and who is searched for: trees made by hand, and TinyFace's layout with its MATLAB lists."""

import numpy as np
import pytest
from scipy.io import savemat

from recognition.errors import InputError
from recognition.identification.folders import gathered, tinyface_gathering
from tests.pictures import jpeg, write_people


def told(gathering):
    """(name of the file below its two last folders, whose, probe?) of every picture."""
    return [
        ("/".join(path.split("/")[-3:]), gathering.names.get(int(person), int(person)), bool(probe))
        for path, person, probe in zip(gathering.paths, gathering.person_N, gathering.is_probe_N)
    ]


def test_galleries_and_probes_are_matched_by_name(tmp_path):
    write_people(tmp_path / "gallery", {"bob": 2, "ann": 1})
    write_people(tmp_path / "probes", {"zoe": 1, "ann": 2})
    assert told(gathered(tmp_path)) == [
        ("gallery/ann/0.jpg", "ann", False),
        ("gallery/bob/0.jpg", "bob", False),
        ("gallery/bob/1.jpg", "bob", False),
        ("probes/ann/0.jpg", "ann", True),
        ("probes/ann/1.jpg", "ann", True),
        ("probes/zoe/0.jpg", "zoe", True),
    ]


def test_a_folder_per_person_is_split_by_people_and_first_pictures(tmp_path):
    write_people(tmp_path, {name: 3 for name in "abcdef"} | {"once": 1})
    gathering = gathered(tmp_path, seed=3)
    enrolled = {name for path, name, probe in told(gathering) if not probe}
    assert len(enrolled) in (4, 5)  # 7 people less a third, the one of a single picture among them or not
    assert "once" not in enrolled
    for path, name, probe in told(gathering):
        assert probe == (name not in enrolled or not path.endswith("/0.jpg"))
    assert told(gathered(tmp_path, seed=3)) == told(gathering)
    splits = {
        tuple(sorted({name for _, name, probe in told(gathered(tmp_path, seed=s)) if not probe})) for s in range(9)
    }
    assert len(splits) > 1
    assert f"{len(enrolled)} people enrolled with their first picture" in gathering.remarks[0]


def test_half_a_gathering_is_refused(tmp_path):
    write_people(tmp_path / "gallery", {"ann": 1})
    with pytest.raises(InputError, match="has gallery, but no probes"):
        gathered(tmp_path)
    write_people(tmp_path / "people", {"ann": 1, "bob": 1})
    with pytest.raises(InputError, match="has 2 people, too few with two pictures"):
        gathered(tmp_path / "people")
    with pytest.raises(InputError, match="is not a folder"):
        gathered(tmp_path / "absent")


def tinyface(root, *, nested=True, pictures="aligned_pad_0.1_pad_high"):
    """A tree as TinyFace and its aligned copies come: lists as MATLAB cell columns."""
    lists = root / ("tinyface/Testing_Set" if pictures else "Testing_Set")
    place = root / pictures if pictures else lists
    for folder, names in (("Gallery_Match", ["a1.jpg", "a2.jpg", "b1.jpg"]), ("Probe", ["pa.jpg", "pb.jpg"])):
        (place / folder).mkdir(parents=True)
        for name in names:
            (place / folder / name).write_bytes(jpeg(hash(name) % 50))
    (place / "Gallery_Distractor" / "sub").mkdir(parents=True)
    (place / "Gallery_Distractor" / "sub" / "d.jpg").write_bytes(jpeg(3))
    lists.mkdir(parents=True, exist_ok=True)

    def column(names):
        cells = np.empty((len(names), 1), object)
        cells[:, 0] = [np.array([name]) for name in names] if nested else names
        return cells

    gallery = {"gallery_set": column(["a1.jpg", "a2.jpg", "b1.jpg"]), "gallery_ids": np.array([[7], [7], [9]])}
    savemat(lists / "gallery_match_img_ID_pairs.mat", gallery)
    probes = {"probe_set": column(["pa.jpg", "pb.jpg"]), "probe_ids": np.array([[7], [9]])}
    savemat(lists / "probe_img_ID_pairs.mat", probes)
    return root, lists


@pytest.mark.parametrize("pictures", ["aligned_pad_0.1_pad_high", ""])
def test_tinyface_as_published_and_beside_aligned_copies(tmp_path, pictures):
    root, lists = tinyface(tmp_path, pictures=pictures)
    found = tinyface_gathering(root)
    place = root / pictures if pictures else lists
    assert found.paths == [
        *(str(place / "Gallery_Match" / name) for name in ("a1.jpg", "a2.jpg", "b1.jpg")),
        str(place / "Gallery_Distractor" / "sub" / "d.jpg"),
        *(str(place / "Probe" / name) for name in ("pa.jpg", "pb.jpg")),
    ]
    assert found.person_N.tolist() == [7, 7, 9, -100, 7, 9]
    assert found.is_probe_N.tolist() == [False] * 4 + [True] * 2
    assert found.remarks == ()
    assert found.name_of(3) == "a distractor"
    assert found.name_of(4) == "7"


def test_tinyface_that_is_not_whole_is_explained(tmp_path):
    with pytest.raises(InputError, match="has no Testing_Set"):
        tinyface_gathering(tmp_path)
    root, lists = tinyface(tmp_path / "set")
    (root / "aligned_pad_0.1_pad_high" / "Gallery_Distractor" / "sub" / "d.jpg").unlink()
    assert "Gallery_Distractor is empty or missing" in tinyface_gathering(root).remarks[0]
    (lists / "probe_img_ID_pairs.mat").write_bytes(b"no matlab")
    with pytest.raises(InputError, match="probe_img_ID_pairs.mat cannot be read as a MATLAB file"):
        tinyface_gathering(root)
    for ids, message in (([[7.5], [9]], "no numbers of people"), ([[7]], "2 pictures for 1 labels")):
        names = np.array([["pa.jpg"], ["pb.jpg"]], object)
        savemat(lists / "probe_img_ID_pairs.mat", {"probe_set": names, "probe_ids": ids})
        with pytest.raises(InputError, match=f"probe_img_ID_pairs.mat: .*{message}"):
            tinyface_gathering(root)
    (lists / "probe_img_ID_pairs.mat").unlink()
    with pytest.raises(InputError, match="probe_img_ID_pairs.mat does not exist"):
        tinyface_gathering(root)
