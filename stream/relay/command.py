"""`vretouch relay`: its options, what they mean, and the run. Heavy libraries are imported only to run."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import re
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from stream.arguments import add_retoucher, rate, size, whole_from
from stream.engine import live_threads, load_engine
from stream.relay.limits import Network
from stream.relay.options import CODECS, COUNTS, FPS, LEAST_PX, WEEK_S, MediaOptions
from stream.relay.origins import Origins
from stream.relay.ports import LEAST, MOST, UdpPorts, new_loop
from stream.relay.tokens import Tokens, find_secret, is_loopback, require_tokens
from stream.relay.turn import IceServers

if TYPE_CHECKING:
    from stream.live.filter import Filtered, LiveFilter
    from stream.relay.serve import Place

    MakeFilter = Callable[[Callable[[Filtered[Any]], None]], LiveFilter[Any]]

# A TURN credential outlives the longest session, since coturn asks for it at each renewal.
TURN_GRACE_S = 600
TURN_TTL_S = 12 * 3600


def port(text: str) -> int:
    """A TCP port, 0 for any that is free."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; write a number from 0 to 65535")
    return int(text)


def picture_size(text: str) -> tuple[int, int]:
    """Width and height of a picture that can be encoded."""
    width, height = size(text)
    most = COUNTS["max_width"][1]
    if min(width, height) < LEAST_PX or max(width, height) > most:
        raise argparse.ArgumentTypeError(
            f"{text!r} is out of range; give each side from {LEAST_PX} to {most}"
        )
    return width, height


def fps(text: str) -> Fraction:
    """A frame rate that a stream may have."""
    least, most = FPS
    if not least <= (found := rate(text)) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is out of range; give {least} to {most} frames a second")
    return found


def udp_ports(text: str) -> UdpPorts:
    """A range of UDP ports: '50000-50100'."""
    found = re.fullmatch("([0-9]{1,5})-([0-9]{1,5})", text)
    first, last = (int(number) for number in found.groups()) if found else (0, 0)
    if not LEAST <= first <= last <= MOST:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no range of UDP ports; write FIRST-LAST, from {LEAST} to {MOST}, as 50000-50200"
        )
    return UdpPorts(first, last)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options of `vretouch relay`."""
    _add_place(command)
    _add_rights(command)
    _add_media(command)
    add_retoucher(command)


def _add_place(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--host", default="127.0.0.1", metavar="H", help="address to listen on (default: 127.0.0.1)")
    add(
        "--public-address",
        metavar="IP",
        help="address under which clients reach this machine, where it is another (1:1 NAT of a cloud)",
    )
    add("--port", type=port, default=8080, metavar="P", help="port to listen on (default: 8080)")
    add(
        "--udp-ports",
        type=udp_ports,
        metavar="A-B",
        help="UDP ports for media, one a session and address of this machine (default: any that are free)",
    )
    add("--tls-cert", metavar="FILE", help="certificate chain for HTTPS, PEM")
    add("--tls-key", metavar="FILE", help="its key, PEM (default: in the certificate's file)")


def _add_rights(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    for right, verb in (("publish", "publish"), ("view", "watch")):
        variable = f"VRETOUCH_{right.upper()}_TOKEN"
        add(f"--{right}-token", metavar="T", help=f"what one must know to {verb} (or {variable})")
        add(f"--{right}-token-file", metavar="FILE", help=f"file whose first line is the {right} token")
    add(
        "--origin",
        action="append",
        default=[],
        metavar="URL",
        help="another site whose pages may use the relay, or its own behind a proxy; may be repeated",
    )
    add(
        "--proxy",
        action="append",
        default=[],
        type=network,
        metavar="NET",
        help="reverse proxy on another machine, whose X-Forwarded-For counts (10.0.0.0/8); may be repeated",
    )
    add(
        "--ice-server",
        action="append",
        default=[],
        metavar="URL",
        help="stun:HOST:PORT or turn:HOST:PORT?transport=udp (default: none); may be repeated",
    )
    add("--turn-secret", metavar="S", help="coturn's static-auth-secret (or VRETOUCH_TURN_SECRET)")
    add("--turn-secret-file", metavar="FILE", help="file whose first line is that secret")


def _add_media(command: argparse.ArgumentParser) -> None:
    add, usual = command.add_argument, MediaOptions()
    most = f"{usual.max_width}x{usual.max_height}"
    add("--codec", choices=CODECS, help="video codec (default: auto, H.264 where it is offered, else VP8)")
    add(
        "--bitrate",
        type=whole_from(*COUNTS["bitrate_kbps"]),
        metavar="KBPS",
        help=f"to begin with (default: {usual.bitrate_kbps})",
    )
    add("--size", type=picture_size, metavar="WxH", help=f"largest picture taken in (default: {most})")
    add(
        "--scale",
        type=picture_size,
        metavar="WxH",
        help="scale larger pictures down to this (default: as they come)",
    )
    add("--fps", type=fps, metavar="N", help=f"highest frame rate (default: {usual.fps:g})")
    add(
        "--max-publishers",
        type=whole_from(*COUNTS["max_publishers"]),
        metavar="N",
        help=f"streams at once (default: {usual.max_publishers})",
    )
    add(
        "--max-viewers",
        type=whole_from(*COUNTS["max_viewers"]),
        metavar="N",
        help=f"viewers at once (default: {usual.max_viewers})",
    )
    add(
        "--idle",
        type=whole_from(1, WEEK_S),
        metavar="S",
        help=f"end a session that nothing is heard of for S seconds (default: {usual.idle_s:g})",
    )
    add(
        "--max-minutes",
        type=whole_from(1, WEEK_S // 60),
        metavar="M",
        help=f"end every session after M minutes (default: {usual.max_session_s / 60:g})",
    )


def network(text: str) -> Network:
    """A network, or one address: '10.0.0.0/8', '172.18.0.2'."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no network; write an address or a network, as 10.0.0.0/8"
        ) from None


def tokens_of(options: argparse.Namespace) -> Tokens:
    """The tokens of the options, files and environment; raises OptionError where they must be there."""
    found = Tokens(
        *(
            find_secret(
                f"{right} token",
                getattr(options, f"{right}_token"),
                getattr(options, f"{right}_token_file"),
                f"VRETOUCH_{right.upper()}_TOKEN",
            )
            for right in ("publish", "view")
        )
    )
    require_tokens(found, options.host, Origins(options.origin).hosts)
    return found


def ice_of(options: argparse.Namespace) -> IceServers:
    """The ICE servers that clients are told to use."""
    secret = find_secret("TURN secret", options.turn_secret, options.turn_secret_file, "VRETOUCH_TURN_SECRET")
    ttl_s = TURN_TTL_S if options.max_minutes is None else options.max_minutes * 60 + TURN_GRACE_S
    return IceServers(tuple(options.ice_server), secret, ttl_s)


def media_options_of(options: argparse.Namespace) -> MediaOptions:
    """What the media side is asked for; what is not given stays at its default."""
    width, height = options.size or (None, None)
    given = {
        "codec": options.codec,
        "bitrate_kbps": options.bitrate,
        "max_bitrate_kbps": options.bitrate and min(options.bitrate * 8 // 5, COUNTS["max_bitrate_kbps"][1]),
        "max_width": width,
        "max_height": height,
        "scale": options.scale,
        "public_address": options.public_address,
        "udp_ports": options.udp_ports,
        "fps": options.fps and float(options.fps),
        "max_publishers": options.max_publishers,
        "max_viewers": options.max_viewers,
        "idle_s": options.idle,
        "max_session_s": None if options.max_minutes is None else options.max_minutes * 60,
        "strength": options.strength,
        "also": options.also,
        "keep": options.keep,
        "ice_servers": ice_of(options),
        "loopback": all(is_loopback(host) for host in (options.host, *Origins(options.origin).hosts)),
    }
    return MediaOptions(**{name: value for name, value in given.items() if value is not None})


def make_filter_of(options: argparse.Namespace, fps: float) -> MakeFilter:
    """What makes the filter of a stream; its settings are those of MediaOptions. The network is loaded here,
    once for all of them."""
    from stream.live.filter import LiveFilter
    from stream.retoucher import Retoucher

    engine = load_engine(options.engine, options.preset, options.threads or live_threads())

    def make_retoucher() -> Retoucher:
        return Retoucher(options.preset, engine, max_faces=options.max_faces)

    def make(on_frame: Callable[[Filtered[Any]], None]) -> LiveFilter[Any]:
        return LiveFilter(make_retoucher, on_frame, fps=fps)

    return make


def run(options: argparse.Namespace, make_filter: MakeFilter | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; returns the exit code. Raises VretouchError for what cannot be.

    make_filter: what filters the streams instead of the network.
    """
    from stream.cli import version
    from stream.relay.http import HttpOptions, make_app
    from stream.relay.metrics import StageTimes
    from stream.relay.pages import load_pages, page_folder
    from stream.relay.rooms import Rooms
    from stream.relay.serve import Place, load_tls, serve
    from stream.relay.sweep import settle

    media = media_options_of(options)
    http = HttpOptions(
        tokens_of(options),
        tuple(options.origin),
        media.ice_servers,
        proxies=tuple(options.proxy),
        version=version(),
    )
    place = Place(options.host, options.port, load_tls(options.tls_cert, options.tls_key))
    pages, times = load_pages(page_folder()), StageTimes()
    make = make_filter or make_filter_of(options, media.fps)
    settle()

    async def relay() -> None:
        app = make_app(Rooms(media, make, times), pages, http, times)
        await serve(app, place, lambda opened: _tell(place, http.tokens, opened))

    with asyncio.Runner(loop_factory=lambda: new_loop(media.udp_ports)) as runner:
        runner.run(relay())
    return 0


def _tell(place: Place, tokens: Tokens, opened: int) -> None:
    """What to open, on standard error."""
    lines = [f"open {place.url(opened)} in a browser; Ctrl-C ends the relay"]
    if tokens.publish_token is not None:
        lines.append("the page asks for the tokens, or add them to its address: #publish=TOKEN&view=TOKEN")
    if not place.has_camera:
        lines.append(
            "browsers give their camera to https pages only: give --tls-cert, or use a reverse proxy with TLS"
        )
    for line in lines:
        print(f"vretouch: {line}", file=sys.stderr, flush=True)
