"""Devices, holders and readers as Linux tells of them, from made-up /sys and /proc and a made-up kernel."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import missing

if sys.platform != "linux":
    missing("Video4Linux is Linux's")

from stream.camera.v4l2 import (
    CAPTURE,
    CLIENT_USAGE,
    OUTPUT,
    Holder,
    Node,
    Readers,
    capabilities,
    holders,
    loopback_loaded,
    nodes,
)

LAYOUT = r"""
#include <stdio.h>
#include <stddef.h>
#include <linux/videodev2.h>
int main(void) {
  printf("%lu %lu %lu ", (unsigned long)VIDIOC_QUERYCAP, (unsigned long)VIDIOC_SUBSCRIBE_EVENT,
         (unsigned long)VIDIOC_DQEVENT);
  printf("%zu %zu %zu ", sizeof(struct v4l2_capability), offsetof(struct v4l2_capability, device_caps),
         sizeof(struct v4l2_event_subscription));
  printf("%zu %zu ", sizeof(struct v4l2_event), offsetof(struct v4l2_event, u));
  printf("%lu %u %u %u", (unsigned long)V4L2_EVENT_PRIVATE_START, V4L2_CAP_VIDEO_CAPTURE,
         V4L2_CAP_VIDEO_OUTPUT, V4L2_EVENT_SUB_FL_SEND_INITIAL);
}
"""


def test_numbers_and_layouts_are_those_of_the_kernels_header(tmp_path: Path) -> None:
    from stream.camera import v4l2

    compiler = shutil.which("cc")
    if compiler is None or not Path("/usr/include/linux/videodev2.h").is_file():
        missing("a C compiler and linux/videodev2.h are not here")
    (tmp_path / "layout.c").write_text(LAYOUT)
    subprocess.run([compiler, "layout.c", "-o", "layout"], cwd=tmp_path, check=True)
    said = subprocess.run([str(tmp_path / "layout")], capture_output=True, text=True, check=True).stdout
    assert [int(word) for word in said.split()] == [
        v4l2._QUERYCAP,
        v4l2._SUBSCRIBE_EVENT,
        v4l2._DQEVENT,
        v4l2._CAPABILITY_BYTES,
        v4l2._DEVICE_CAPS_AT,
        32,
        v4l2._EVENT_BYTES,
        v4l2._EVENT_COUNT_AT,
        v4l2._EVENT_PRIVATE_START,
        CAPTURE,
        OUTPUT,
        v4l2._SEND_INITIAL,
    ]


def test_nodes_are_sorted_by_number_and_loopbacks_known(tmp_path: Path) -> None:
    for folder, name in (("video10", "vretouch"), ("video2", "Webcam"), ("v4l-subdev0", "sensor")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "name").write_text(f"{name}\n")
    (tmp_path / "video10" / "max_openers").write_text("10\n")
    (tmp_path / "video3").mkdir()
    assert nodes(tmp_path, Path("/dev")) == [
        Node(2, "/dev/video2", "Webcam", False),
        Node(3, "/dev/video3", "video3", False),
        Node(10, "/dev/video10", "vretouch", True),
    ]
    assert nodes(tmp_path / "none") == []


def test_the_module_is_loaded_or_not(tmp_path: Path) -> None:
    assert not loopback_loaded(tmp_path)
    (tmp_path / "v4l2loopback").mkdir()
    assert loopback_loaded(tmp_path)


def test_what_is_no_video_device_has_no_capabilities(tmp_path: Path) -> None:
    assert capabilities("/dev/null") is None
    assert capabilities(str(tmp_path / "video0")) is None


def process(proc: Path, pid: int, name: str, *opened: str) -> None:
    (proc / str(pid) / "fd").mkdir(parents=True)
    (proc / str(pid) / "comm").write_text(f"{name}\n")
    for place, target in enumerate(opened):
        (proc / str(pid) / "fd" / str(place)).symlink_to(target)


def test_holders_are_other_processes_that_have_the_device_open(tmp_path: Path) -> None:
    process(tmp_path, 900, "zoom", "/dev/null", "/dev/video7")
    process(tmp_path, 31, "firefox", "/dev/video7", "/dev/video7")
    process(tmp_path, 32, "bash", "/dev/video77", "socket:[5]")
    process(tmp_path, os.getpid(), "pytest", "/dev/video7")
    (tmp_path / "33").mkdir()
    (tmp_path / "self").mkdir()
    found = holders("/dev/video7", tmp_path)
    assert found == [Holder(31, "firefox"), Holder(900, "zoom")]
    assert str(found[0]) == "firefox (process 31)"
    assert holders("/dev/video8", tmp_path) == []


def test_a_link_to_the_device_is_the_device(tmp_path: Path) -> None:
    (tmp_path / "video7").touch()
    (tmp_path / "by-id").symlink_to(tmp_path / "video7")
    process(tmp_path / "proc", 5, "cheese", str(tmp_path / "video7"))
    assert holders(str(tmp_path / "by-id"), tmp_path / "proc") == [Holder(5, "cheese")]


def test_a_real_process_is_seen(tmp_path: Path) -> None:
    held = tmp_path / "video7"
    held.touch()
    code = "import sys; f = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(held)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert [holder.pid for holder in holders(str(held))] == [child.pid]
        child.communicate()
    assert holders(str(held)) == []


class Kernel:
    """The part of v4l2loopback that tells of its readers. events: (type, count) still to be fetched."""

    def __init__(self, *events: tuple[int, int], subscribe: int = 0) -> None:
        self.events, self._subscribe_errno = list(events), subscribe
        self.subscribed: tuple[int, ...] = ()
        self.fetch_errno = 0

    def ioctl(self, handle: int, request: int, answer: bytearray) -> None:
        os.fstat(handle)
        if request == 0x4020565A:
            if self._subscribe_errno:
                raise OSError(self._subscribe_errno, "no such event")
            self.subscribed = struct.unpack("=8I", answer)
            return
        assert request == 0x80885659
        if self.fetch_errno:
            raise OSError(self.fetch_errno, "gone")
        kind, count = self.events.pop(0)
        struct.pack_into("=I4xI", answer, 0, kind, count)

    def waits(self, handle: int) -> bool:
        os.fstat(handle)
        return bool(self.events) or bool(self.fetch_errno)


def test_readers_are_counted_by_the_newest_event() -> None:
    kernel = Kernel()
    readers = Readers("/dev/null", kernel.ioctl, kernel.waits)
    assert kernel.subscribed == (CLIENT_USAGE, 0, 1, 0, 0, 0, 0, 0)
    assert readers.count() is None
    kernel.events = [(CLIENT_USAGE, 0)]
    assert readers.count() == 0
    assert readers.count() == 0
    kernel.events = [(CLIENT_USAGE, 1), (CLIENT_USAGE, 2), (3, 9)]
    assert readers.count() == 2
    kernel.events = [(CLIENT_USAGE, 0)]
    assert readers.count() == 0
    readers.close()
    assert readers.count() is None
    readers.close()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTTY])
def test_a_module_without_the_event_does_not_tell(number: int) -> None:
    kernel = Kernel((CLIENT_USAGE, 0), subscribe=number)
    readers = Readers("/dev/null", kernel.ioctl, kernel.waits)
    assert readers.count() is None


def test_a_device_that_goes_away_no_longer_tells() -> None:
    kernel = Kernel((CLIENT_USAGE, 0))
    readers = Readers("/dev/null", kernel.ioctl, kernel.waits)
    assert readers.count() == 0
    kernel.fetch_errno = errno.ENODEV
    assert readers.count() is None


def test_what_is_no_loopback_does_not_tell(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert Readers("/dev/null").count() is None
    assert Readers(str(tmp_path / "video0")).count() is None
    assert len(list(Path("/proc/self/fd").iterdir())) == before
