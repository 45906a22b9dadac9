"""What the media plane is allowed and told to do: codec, rates, sizes, counts and times."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Collection
from dataclasses import dataclass, field

from stream import broad, keep
from stream.errors import OptionError
from stream.relay.ports import UdpPorts
from stream.relay.turn import IceServers

CODECS = ("auto", "vp8", "h264")
LEAST_PX = 16
WEEK_S = 7 * 24 * 3600
# Lowest and highest value of the whole numbers.
COUNTS = {
    "bitrate_kbps": (100, 50_000),
    "max_bitrate_kbps": (100, 50_000),
    "max_width": (LEAST_PX, 8192),
    "max_height": (LEAST_PX, 8192),
    "max_publishers": (1, 1000),
    "max_viewers": (0, 10_000),
    "max_pending": (1, 1000),
}
FPS = (1, 240)


@dataclass(frozen=True)
class MediaOptions:
    """Options of stream.relay.rooms.Rooms.

    codec: what publishers send and viewers get; `auto` takes H.264 where the publisher offers it, else VP8.
    bitrate_kbps: of an outgoing picture to begin with, and where nothing is known of the way to the viewers;
    max_bitrate_kbps: what it may rise to. max_width, max_height: of an incoming picture, upright or turned; a
    larger one is dropped before it is decoded. scale: width and height into which larger pictures are scaled
    down before they are retouched, None for none. fps: frames above this rate are dropped before they are
    converted. max_publishers, max_viewers: at a time; max_pending: offers of either kind, answered but not
    yet connected. connect_deadline_s: for these. idle_s: a session nothing is heard of for so long ends;
    max_session_s: and any after so long. ice_servers: the relay's own use of STUN and TURN; none by default.
    loopback: media comes from this machine only. public_address: IP address under which this machine is
    reached from outside, every port as it is (1:1 NAT); None where its own is the one. udp_ports: those that
    media uses, which the event loop sees to (stream.relay.ports); None for any that are free. strength, also,
    keep: of stream.live.settings.Settings when a stream begins.
    """

    codec: str = "auto"
    bitrate_kbps: int = 2500
    max_bitrate_kbps: int = 4000
    max_width: int = 1920
    max_height: int = 1080
    scale: tuple[int, int] | None = None
    fps: float = 30.0
    max_publishers: int = 4
    max_viewers: int = 32
    max_pending: int = 8
    connect_deadline_s: float = 10.0
    idle_s: float = 15.0
    max_session_s: float = 4 * 3600.0
    ice_servers: IceServers = field(default_factory=IceServers)
    loopback: bool = False
    public_address: str | None = None
    udp_ports: UdpPorts | None = None
    strength: float = 1.0
    also: Collection[str] = broad.ALL
    keep: Collection[str] = keep.DEFAULT

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise OptionError(f"codec must be one of {', '.join(CODECS)}, not {self.codec!r}")
        for name, (least, most) in COUNTS.items():
            self._check_whole(name, least, most)
        for name in ("connect_deadline_s", "idle_s", "max_session_s"):
            self._check_number(name, 0.01, WEEK_S)
        if self.public_address is not None:
            self._check_public(self.public_address)
        if self.scale is not None and min(self.scale) < LEAST_PX:
            raise OptionError(f"scale must be at least {LEAST_PX}x{LEAST_PX}, not {self.scale!r}")
        self._check_number("fps", *FPS)
        self._check_number("strength", 0.0, 1.0)
        broad.checked(self.also)
        keep.checked(self.keep)
        if self.max_bitrate_kbps < self.bitrate_kbps:
            raise OptionError(
                f"max_bitrate_kbps must not be below bitrate_kbps, {self.bitrate_kbps}, "
                f"but is {self.max_bitrate_kbps}"
            )

    def _check_public(self, address: str) -> None:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise OptionError(
                f"the public address must be an IP address, as 203.0.113.7, not {address!r}"
            ) from None
        if self.loopback:
            raise OptionError("a public address is of no use on 127.0.0.1; name where to listen with --host")

    def _check_whole(self, name: str, least: int, most: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise OptionError(f"{name} must be a whole number from {least} to {most}, not {value!r}")

    def _check_number(self, name: str, least: float, most: float) -> None:
        value = getattr(self, name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not least <= value <= most:
            raise OptionError(f"{name} must be a number from {least:g} to {most:g}, not {value!r}")

    def admits(self, width: int, height: int) -> bool:
        """Whether a picture of this size can be taken, upright or turned."""
        long, short = max(self.max_width, self.max_height), min(self.max_width, self.max_height)
        return max(width, height) <= long and LEAST_PX <= min(width, height) <= short
