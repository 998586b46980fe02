"""A real RTSP server on the loopback, GStreamer's, run by the system's Python: `rtsp_server.py PORT [USER PASSWORD
[ADDRESS]]`.

`/ball` moves, `/still` does not; both are H.264. Prints a line once it listens.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PICTURES = "video/x-raw,width=320,height=240,framerate=30/1"
ENCODED = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay name=pay0 pt=96"


def main(port: str, user: str = "", password: str = "", address: str = "127.0.0.1") -> None:
    """Serve until the process is killed."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(address)
    server.set_service(port)
    paths = {"/ball": "ball", "/still": "checkers-8"}
    for path, pattern in paths.items():
        media = GstRtspServer.RTSPMediaFactory()
        media.set_launch(f"( videotestsrc is-live=true pattern={pattern} ! {PICTURES} ! {ENCODED} )")
        media.set_shared(True)
        if user:
            roles = GstRtspServer.RTSPPermissions()
            roles.add_permission_for_role("viewer", GstRtspServer.RTSP_PERM_MEDIA_FACTORY_ACCESS, True)
            roles.add_permission_for_role("viewer", GstRtspServer.RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, True)
            media.set_permissions(roles)
        server.get_mount_points().add_factory(path, media)
    if user:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "viewer")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
    if not server.attach(None):
        sys.exit(f"port {port} is in use")
    print("listening", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
