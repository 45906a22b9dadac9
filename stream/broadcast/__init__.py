"""Live streams by URL (RTSP, RTMP, UDP, TCP, SRT where FFmpeg has it): in, retouched, and out again."""
