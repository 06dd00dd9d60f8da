"""Videos in and out: every picture, the times, the sound."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from modules.core.errors import InputError
from modules.engine.engine import Engine
from modules.engine.video import convert
from modules.jobs.executors.base import Cancel
from modules.requests.events import Done, Failed, Progress, Warned
from tests.engine.test_extras import data, engine, run

assert data and engine  # fixtures


def write_video(path: Path, frames: int = 6, *, sound: bool = True) -> Path:
    """A grey level a picture, twelve a second, with a second of a tone."""
    with av.open(str(path), "w") as made:
        stream = made.add_stream("mpeg4", rate=12)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        tone = made.add_stream("aac", rate=48000, layout="mono") if sound else None
        for i in range(frames):
            pixels = np.full((32, 48, 3), 40 * i, dtype=np.uint8)
            made.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        made.mux(stream.encode(None))
        if tone:
            wave = np.sin(np.arange(24_576) / 20).astype(np.float32)[None] / 2
            for at in range(0, wave.shape[1], 1024):
                frame = av.AudioFrame.from_ndarray(wave[:, at : at + 1024].copy(), format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = 48000, at, Fraction(1, 48000)
                made.mux(tone.encode(frame))
            made.mux(tone.encode(None))
    return path


def read(path: Path) -> tuple[list[float], list[float], tuple[int, int], int]:
    """Grey levels and times of the pictures, their size, how many packets of sound there are."""
    with av.open(str(path)) as found:
        stream = found.streams.video[0]
        frames = list(found.decode(stream))
        levels = [float(frame.to_ndarray(format="gray").mean()) for frame in frames]
        size = stream.width, stream.height
        times = [float(frame.time or 0) for frame in frames]
    with av.open(str(path)) as found:
        packets = [packet for packet in found.demux(*found.streams.audio) if packet.size] if found.streams.audio else []
    return levels, times, size, len(packets)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_pictures_times_and_sound(engine: Engine, data: Path, suffix):
    folder = data / f"videos{suffix}"
    folder.mkdir()
    source = write_video(folder / f"clip{suffix}", sound=suffix != ".avi")
    events = run(engine, input_dir=str(folder), output_dir=f"made{suffix}", upscaler_1="tiny", upscaling_resize=2)
    assert isinstance(events[-1], Done), events[-1]
    (made,) = (data / f"made{suffix}").iterdir()
    assert made.name == f"clip{'.mkv' if suffix == '.avi' else suffix}"
    assert any(isinstance(event, Warned) and made.name in event.message for event in events)
    assert any(isinstance(event, Progress) and event.steps >= 6 for event in events)
    old, new = read(source), read(made)
    assert new[2] == (96, 64) and old[3] == new[3] and (new[3] > 0) == (suffix != ".avi")
    assert len(new[0]) == 6 and np.abs(np.diff(new[1]) - 1 / 12).max() < 0.005
    assert np.abs(np.array(old[0]) - np.array(new[0])).max() < 40


def test_an_old_video_is_not_replaced_and_sides_become_even(tmp_path):
    source = write_video(tmp_path / "a.mp4", 2, sound=False)
    made = convert(source, tmp_path, lambda image: image.resize((51, 33)), lambda done, whole: None)
    assert made.name == "a-1.mp4" and read(made)[2] == (50, 32)
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "a-1.mp4"}


def test_what_is_no_video_and_what_is_stopped_leave_nothing(engine: Engine, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(InputError, match=r'"bad.mp4" is no whole video'):
        convert(tmp_path / "bad.mp4", tmp_path / "out", lambda image: image, lambda done, whole: None)
    assert not list((tmp_path / "out").iterdir())
    events = run(engine, input_dir=str(tmp_path), output_dir=str(tmp_path / "out"), upscaler_1="Nearest")
    assert isinstance(events[-1], Failed) and "bad.mp4" in events[-1].message

    class Stop(Cancel):
        asked = 0

        def take_skip(self) -> bool:
            self.asked += 1
            if self.asked == 4:
                self.ask("interrupt")
            return False

    (tmp_path / "bad.mp4").unlink()
    write_video(tmp_path / "good.mp4")
    events = run(engine, input_dir=str(tmp_path), output_dir=str(tmp_path / "out"), upscaler_1="Nearest", cancel=Stop())
    assert isinstance(events[-1], Done) and events[-1].stopped
    assert not list((tmp_path / "out").iterdir())
