"""The relay: a publisher's video comes in, goes through the filter, is encoded once and sent to many viewers.

Media by WebRTC (aiortc), signalling by WHIP and WHEP (aiohttp). rooms.py is the door between the two.
"""
