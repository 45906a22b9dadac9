"""The floor that the relay is held against: a plain echo, decoded and encoded by aiortc, nothing between."""

from __future__ import annotations

import argparse
import asyncio

from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcrtpsender import RTCRtpSender

# Side by side: a browser plays no muted video by itself that nobody sees.
PAGE = """<!doctype html><title>echo</title><style>video { width: 48vw }</style>
<video id=self autoplay muted playsinline></video>
<video id=result autoplay muted playsinline></video><button id=start>Start</button><script>
document.getElementById('start').onclick = async () => {
  const [width, height] = location.hash.slice(1).split('x').map(Number);
  const media = await navigator.mediaDevices.getUserMedia({video: {width, height, frameRate: 30}});
  document.getElementById('self').srcObject = media;
  const peer = new RTCPeerConnection();
  peer.ontrack = event => { document.getElementById('result').srcObject = new MediaStream([event.track]); };
  const track = media.getVideoTracks()[0];
  track.contentHint = 'detail';
  const sender = peer.addTransceiver(track, {direction: 'sendrecv'}).sender;
  await peer.setLocalDescription();
  await new Promise(done => {
    if (peer.iceGatheringState === 'complete') return done();
    peer.onicegatheringstatechange = () => peer.iceGatheringState === 'complete' && done();
  });
  const answer = await fetch('/offer', {method: 'POST', body: peer.localDescription.sdp});
  await peer.setRemoteDescription({type: 'answer', sdp: await answer.text()});
};
</script>"""


def application(codec: str) -> web.Application:
    """The page and POST /offer. codec: `vp8` or `h264`."""
    peers: set[RTCPeerConnection] = set()

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def offer(request: web.Request) -> web.Response:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peers.add(peer)
        await peer.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        (video,) = peer.getTransceivers()
        wanted = RTCRtpSender.getCapabilities("video").codecs
        video.setCodecPreferences([c for c in wanted if c.mimeType.lower() == f"video/{codec}"])
        video.sender.replaceTrack(video.receiver.track)
        video.direction = "sendrecv"
        await peer.setLocalDescription(await peer.createAnswer())
        return web.Response(text=peer.localDescription.sdp, content_type="application/sdp")

    async def close(_: web.Application) -> None:
        await asyncio.gather(*(peer.close() for peer in peers))

    app = web.Application()
    app.add_routes([web.get("/", page), web.post("/offer", offer)])
    app.on_shutdown.append(close)
    return app


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--codec", choices=("vp8", "h264"), default="vp8")
    options = parser.parse_args()
    web.run_app(application(options.codec), host="127.0.0.1", port=options.port, print=None)


if __name__ == "__main__":
    main()
