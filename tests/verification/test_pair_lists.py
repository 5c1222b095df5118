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
    pairs, issame, *_ = read_pair_list(tmp_path / "pairs", "root")
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
    pairs, issame, *_ = read_pair_list(tmp_path / "pairs.csv", "root")
    expected = [row for fold in range(1, 11) for row in rows if row[3] == fold]
    assert pairs == [(f"root/{row[0]}", f"root/{row[1]}") for row in expected]
    assert issame == [row[2] == 1 for row in expected]


@pytest.mark.parametrize(
    "text",
    [
        "first,second,same,fold,group\n",
        "group,fold,same,second,first\n",
        "\ufeffFirst, Second, Same, Fold, Group\n",
        "path1\tpath2\tissame\tfold\tgroup\n",
    ],
    ids=["usual", "backwards", "from a spreadsheet", "tabs and other names"],
)
def test_a_line_that_names_the_columns_is_followed_in_any_order(tmp_path, text):
    rows = [(f"p{n}/a b.jpg", f"q{n}.jpg", n % 2, (7 * n) % 10, f"group {n % 3}") for n in range(20)]
    names = [name.strip().lower() for name in text.strip().removeprefix("\ufeff").replace("\t", ",").split(",")]
    places = {"first": 0, "path1": 0, "second": 1, "path2": 1, "same": 2, "issame": 2, "fold": 3, "group": 4}
    separator = "\t" if "\t" in text else ","
    lines = [separator.join(str(row[places[name]]) for name in names) for row in rows]
    (tmp_path / "pairs.csv").write_text(text + "\n".join(lines) + "\n\n", encoding="utf-8")
    found = read_pair_list(tmp_path / "pairs.csv", "root")
    expected = [row for fold in range(10) for row in rows if row[3] == fold]
    assert found.pairs == [(f"root/{row[0]}", f"root/{row[1]}") for row in expected]
    assert found.issame == [row[2] == 1 for row in expected]
    assert found.groups == [row[4] for row in expected]
    assert [rows[place] for place in found.places] == expected


def test_folds_and_groups_may_be_absent(tmp_path):
    (tmp_path / "pairs.csv").write_text("same,first,second\n1,a,b\n-1,c,d\n")
    found = read_pair_list(tmp_path / "pairs.csv", "")
    assert found == ([("a", "b"), ("c", "d")], [True, False], [0, 1], None, None)


def test_people_are_those_of_their_columns_or_of_the_names_in_lfws_form(tmp_path):
    rows = [f"{n}.jpg,ann,{n % 2},x.jpg,{'ann' if n % 2 else f'bob {n}'},{9 - n}" for n in range(10)]
    (tmp_path / "pairs.csv").write_text("first,Person1,same,second,person2,fold\n" + "\n".join(rows))
    found = read_pair_list(tmp_path / "pairs.csv", "")
    assert found.people == [("ann", "ann" if n % 2 else f"bob {n}") for n in reversed(range(10))]
    (tmp_path / "pairs.txt").write_text("1\t1\nanna\t1\t3\nanna\t2\tcarl\t4\n")
    assert read_pair_list(tmp_path / "pairs.txt", "").people == [("anna", "anna"), ("anna", "carl")]
    (tmp_path / "mixed.txt").write_text("anna\t1\t3\nx.jpg\ty.jpg\t0\n")
    assert read_pair_list(tmp_path / "mixed.txt", "").people is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "first,second,same,first_person,second_person\na,b,1,x,x\n\na,b,1,x,y\n",
            "pairs.csv: line 4 says that x and y are one person; mend the flag or the name",
        ),
        ("1 1\nann 1 3\nann 1 ann 4\n", "pairs.csv: line 3 says that ann and ann are two people"),
        ("first,second,same,person2\na,b,1,x\n", "has the column 'second_person' alone; name both people"),
        ("first,second,same,person1,person2\na,b,1,x,\n", "line 2 is 'a,b,1,x,'"),
    ],
)
def test_people_that_do_not_fit_are_told_by_line(tmp_path, text, message):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_pair_list(tmp_path / "pairs.csv", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "first,second,same,gruop\na,b,1,x\n",
            "its column 'gruop' is not known; columns are first, second, same,",
        ),
        ("first,second,same,first\na,b,1,x\n", "its column 'first' stands there twice"),
        ("first,path1,second,same\na,b,c,1\n", "its column 'first' stands there twice"),
        ("first,second,same,group\na,b,1,x\na,b,0\n", "line 3 is 'a,b,0'; it needs first, second, same, group"),
        ("first,second,same,group\na,b,0,\n", "line 2 is 'a,b,0,'"),
        ("first,second,same,group\na,b,0,x,y\n", "line 2 is 'a,b,0,x,y'"),
        ("first,second,same\na,,0\n", "line 2 is 'a,,0'"),
        ("first,second,same\na,b,yes\n", "line 2 is 'a,b,yes'; it needs first, second, same, with 1 or 0 for same$"),
        ("first,second,same,fold\na,b,1,x\n", "line 2 is 'a,b,1,x'; .* and a number for fold"),
        ("first,second,same\n\n", "holds no pairs"),
        ("first,second,same,fold\na,b,1,1\n", r"folds of these sizes \(1: 1\)"),
    ],
)
def test_columns_that_do_not_fit_are_told_by_line(tmp_path, text, message):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_pair_list(tmp_path / "pairs.csv", tmp_path)
