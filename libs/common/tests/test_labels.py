from common.labels import OTHER, Bounded


def test_the_first_have_names_and_keep_them_and_all_others_are_one():
    bounded = Bounded(2)

    labels = [bounded.of(value) for value in ("a", "b", "c", "a", "d", "b")]

    assert labels == ["a", "b", OTHER, "a", OTHER, "b"]


def test_ten_thousand_tenants_are_no_more_labels_than_were_allowed():
    bounded = Bounded(200)

    assert len({bounded.of(str(number)) for number in range(10_000)}) == 201
