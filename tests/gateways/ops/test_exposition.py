"""Figures in the text format of Prometheus, read back with Prometheus' own parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from microd.gateways.ops import process
from microd.gateways.ops.exposition import exposition
from microd.kernel.health import Figure, Spread, counter, gauge


def read(*figures: Figure) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(exposition(figures).decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_numbers() -> None:
    """Counters and gauges are read back as they were, with their labels."""
    found = read(counter("microd_a_total", "A.", 3, door="api"), gauge("microd_b", "B.", 0.25))
    assert found == {("microd_a_total", (("door", "api"),)): 3.0, ("microd_b", ()): 0.25}


def test_spread() -> None:
    """A histogram's ranges add up, and the last holds everything."""
    spread = Spread((0.1, 1))
    for value in (0.05, 0.1, 0.5, 7.0):
        spread.add(value)
    found = read(Figure("microd_wait_seconds", "W.", "histogram", [({"door": "api"}, spread)]))
    door = ("door", "api")
    assert found == {
        ("microd_wait_seconds_bucket", (door, ("le", "0.1"))): 2.0,
        ("microd_wait_seconds_bucket", (door, ("le", "1"))): 3.0,
        ("microd_wait_seconds_bucket", (door, ("le", "+Inf"))): 4.0,
        ("microd_wait_seconds_sum", (door,)): 7.65,
        ("microd_wait_seconds_count", (door,)): 4.0,
    }


def test_escaped() -> None:
    """Whatever stands in a label or a help text cannot break out of it."""
    nasty = 'a"} 1\nmicrod_b{x="\\\udcff'
    text = exposition([Figure("microd_a", "one\ntwo\\", "gauge", [({"x": nasty}, 1)])]).decode()
    assert len(text.splitlines()) == 3
    (family,) = text_string_to_metric_families(text)
    assert family.samples[0].labels["x"] == nasty.replace("\udcff", "\\udcff")


def test_one_family() -> None:
    """Samples of one name stand together, whoever gave them."""
    text = exposition([gauge("a", "A.", 1, x="1"), gauge("b", "B.", 2), gauge("a", "A.", 3, x="2")]).decode()
    assert text.count("# TYPE a gauge") == 1
    assert text.splitlines()[2:4] == ['a{x="1"} 1', 'a{x="2"} 3']


def test_process() -> None:
    """The process tells what Prometheus' own libraries tell, in their units."""
    found = {name: value for (name, _), value in read(*process.figures()).items()}
    assert found["microd_build_info"] == 1
    assert 1e6 < found["process_resident_memory_bytes"] < found["process_virtual_memory_bytes"]
    assert found["process_open_fds"] > 2
    assert found["process_cpu_seconds_total"] > 0
    assert 1.6e9 < found["process_start_time_seconds"] < 1e10
