"""What a result says of the machine."""

from benchmarks.machine import cpu_model, machine


def test_the_model_of_the_cpu(tmp_path, monkeypatch):
    described = tmp_path / "cpuinfo"
    described.write_text("processor\t: 0\nmodel name\t: A  Chip: 2 GHz\nmodel name\t: Another\n")
    assert cpu_model(described) == "A Chip: 2 GHz"
    described.write_text("processor\t: 0\n")
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert cpu_model(described) == cpu_model(tmp_path / "none") == "arm"
    monkeypatch.setattr("platform.processor", lambda: "")
    assert cpu_model(described) == "unknown"
    assert machine()["machine"]["cpu"]
