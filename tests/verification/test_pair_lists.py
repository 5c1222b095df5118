"""Lists of pairs in all the forms that are read, and what is said of the others."""

import pytest

from recognition.errors import InputError
from recognition.verification.pair_lists import read_pair_list


@pytest.mark.parametrize(
    "text",
    [
        "1\t1\nanna\t1\t3\nanna\t2\tcarl\t4\n",
        "anna/anna_0001.jpg,anna/anna_0003.jpg,1\nanna/anna_0002.jpg,carl/carl_0004.jpg,0\n",
        "path1,path2,issame\n\nanna/anna_0001.jpg\tanna/anna_0003.jpg\t1\nanna/anna_0002.jpg\tcarl/carl_0004.jpg\t0\n",
        "1 1\nanna 1 3\nanna 2 carl 4\n",
        "name,imagenum1,imagenum2,\nanna,1,3,\nanna,2,carl,4\n",
        "anna/anna_0001.jpg anna/anna_0003.jpg 1\nanna/anna_0002.jpg carl/carl_0004.jpg -1\n",
        "1 anna/anna_0001.jpg anna/anna_0003.jpg\n0 anna/anna_0002.jpg carl/carl_0004.jpg\n",
    ],
    ids=["pairs.txt", "csv", "tsv", "pairs.txt with spaces", "pairs.csv", "agedb_30_pair.txt", "flag first"],
)
def test_pair_lists(text, tmp_path):
    (tmp_path / "pairs").write_text(text)
    pairs, issame, _ = read_pair_list(tmp_path / "pairs", "root")
    assert issame == [True, False]
    assert pairs == [
        ("root/anna/anna_0001.jpg", "root/anna/anna_0003.jpg"),
        ("root/anna/anna_0002.jpg", "root/carl/carl_0004.jpg"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,1\na,b,maybe\n", "line 2 is 'a,b,maybe'"),
        ("\n", "holds no pairs"),
        ("2\t1\nanna\t1\t3\nanna\t2\tcarl\t4\n", "its first line means 4 pairs, but it has 2"),
        ("2\nanna\t1\t3\n", "its first line means 4 pairs, but it has 1"),
        ("".join(f"a,b,1,{fold}\n" for fold in range(9)), r"folds of these sizes .0: 1, .* 0 are in none"),
        ("".join(f"a,b,1,{fold}\n" for fold in [*range(10), 4]), "4: 2, "),
        ("".join(f"a,b,1,{fold}\n" for fold in range(10)) + "a,b,0\n", "1 are in none"),
    ],
)
def test_bad_pair_lists(text, message, tmp_path):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_pair_list(tmp_path / "pairs.csv", tmp_path)


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="nowhere.csv: cannot be read .No such file"):
        read_pair_list(tmp_path / "nowhere.csv", tmp_path)


def test_pairs_follow_the_column_of_folds(tmp_path):
    rows = [(f"p{number}/a b.jpg", f"q{number}.jpg", number % 2, (7 * number) % 10 + 1) for number in range(20)]
    (tmp_path / "pairs.csv").write_text(
        "path1,path2,issame,fold\n" + "".join(f"{one},{two},{same},{fold}\n" for one, two, same, fold in rows)
    )
    pairs, issame, _ = read_pair_list(tmp_path / "pairs.csv", "root")
    expected = [row for fold in range(1, 11) for row in rows if row[3] == fold]
    assert pairs == [(f"root/{row[0]}", f"root/{row[1]}") for row in expected]
    assert issame == [row[2] == 1 for row in expected]
