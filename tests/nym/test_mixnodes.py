from meridian.nym.mixnodes import NOISE, READING_MAX, TICKS, World


def every(world: World, api: int = 1, epochs: int = 40):
    return [
        (mixnode, epoch, tick, world.reading(api, mixnode, epoch, tick))
        for epoch in range(epochs)
        for mixnode in range(world.mixnodes)
        for tick in range(TICKS)
    ]


def test_both_ends_are_reached_and_readings_are_near_the_truth():
    world = World(1, 10)
    readings = every(world)
    values = {value for *_, value in readings if value is not None}
    assert min(values) == 0
    assert max(values) == READING_MAX  # the original never reached 100
    assert len(values) == 101
    for mixnode, epoch, _, value in readings:
        assert value is None or abs(value - world.truth(mixnode, epoch)) <= NOISE


def test_truth_reaches_both_ends():
    world = World(1, 50)
    truths = {world.truth(mixnode, epoch) for mixnode in range(50) for epoch in range(20)}
    assert truths == set(range(101))


def test_single_readings_whole_epochs_and_dark_mixnodes_are_missing():
    world = World(1, 10)
    readings = every(world, epochs=100)
    lost = sum(value is None for *_, value in readings)
    assert 0.05 < lost / len(readings) < 0.15
    seen = {(mixnode, epoch) for mixnode, epoch, _, value in readings if value is not None}
    other = {(m, e) for m, e, _, value in every(world, api=2, epochs=100) if value is not None}
    assert len(seen) < 1000
    assert seen != other  # unreached by one Nym-Api only
    assert len(seen | other) < 1000  # dark for both


def test_the_same_seed_measures_the_same_and_another_does_not():
    assert every(World(3, 4)) == every(World(3, 4))
    assert every(World(3, 4)) != every(World(4, 4))
    assert every(World(3, 4), api=1) != every(World(3, 4), api=2)


def test_a_lie_is_the_extreme_farther_from_the_truth():
    world = World(1, 30)
    for mixnode, lie in world.lies(2):
        truth = world.truth(mixnode, 2)
        assert lie in {0, READING_MAX}
        assert abs(lie - truth) >= READING_MAX // 2
