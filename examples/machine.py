"""Runs an exported policy at its rate, or 100 Hz, with NumPy and ONNX Runtime alone.

python machine.py policy.onnx
"""

import hashlib
import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime


class Policy:
    """An exported file and its manifest: sensors by name in, commands by name out."""

    def __init__(self, path):
        self.manifest = json.loads(path.with_name(path.name + ".json").read_text())
        content, options = path.read_bytes(), onnxruntime.SessionOptions()
        if hashlib.sha256(content).hexdigest() != self.manifest["model"]["sha256"]:
            raise ValueError(f"{path} is not the file that its manifest describes: export it again")
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(content, options)
        self.sensors = [signal["name"] for signal in self.manifest["observations"]]
        self.commands = [signal["name"] for signal in self.manifest["actions"]]

    def __call__(self, sensors):
        """Commands; a missing sensor, NaN or infinity is refused, not passed on."""
        values = np.array([sensors.get(name, np.nan) for name in self.sensors], dtype=np.float32)
        if wrong := [self.sensors[i] for i in np.flatnonzero(~np.isfinite(values))]:
            raise ValueError(f"no finite number from {', '.join(wrong)}: nothing is commanded")
        actions = np.asarray(self.session.run(None, {"observation": values[None]})[0])[0]
        if not np.isfinite(actions).all():
            raise ValueError(f"no finite commands for {sensors}: nothing is commanded")
        return dict(zip(self.commands, actions.tolist(), strict=True))


def loop(policy, read, send, *, rate, seconds):
    """Commands at a rate, in hertz; returns how many ticks got theirs too late or not at all."""
    start, tick, late = time.perf_counter(), 0, 0
    while tick < rate * seconds:
        time.sleep(max(0.0, start + tick / rate - time.perf_counter()))
        send(policy(read()))
        now = max(tick, int((time.perf_counter() - start) * rate))
        late, tick = late + now - tick, now + 1  # what was missed is left out, not made up for
    return late


if __name__ == "__main__":
    policy = Policy(Path(sys.argv[1]))
    # In place of these two: read your sensors into a dictionary, send the commands in another.
    usual = {signal["name"]: signal["mean"] for signal in policy.manifest["observations"]}
    late = loop(policy, lambda: usual, print, rate=policy.manifest["rate_hz"] or 100, seconds=2)
    print(f"{late} late ticks")
