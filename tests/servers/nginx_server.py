"""A real nginx before another server: it refuses with 429 what comes faster than it allows, for each API key.

It is a Debian package (``nginx-light``), which `.ci/run` installs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from tests.servers.process import answers, ended_after
from tests.servers.valkey_server import free_port, wait_for

# A bucket for each credential: `burst` and one more may come at once, and it empties at `rate`. The rest is refused.
SETTINGS = """
{user} worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  log_format plain '$status'; access_log {folder}/access.log plain;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  client_body_buffer_size 1m; proxy_max_temp_file_size 0;
  limit_req_zone $http_authorization zone=keys:1m rate={rate}r/s;
  map $status $retry_after {{ 429 "1"; default ""; }}
  server {{ listen 127.0.0.1:{port};
    location / {{
      limit_req zone=keys burst={burst} nodelay; limit_req_status 429; add_header Retry-After $retry_after always;
      proxy_set_header Host $http_host; proxy_pass {upstream};
    }}
  }}
}}
"""


def nginx_binary() -> str | None:
    """The program; None where there is none."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")


@frozen
class Nginx:
    """A running one."""

    url: str
    folder: Path

    def answers(self) -> Counter[str]:
        """How often it answered with which status so far."""
        return Counter((self.folder / "access.log").read_text(encoding="utf-8").split())


@contextmanager
def running_nginx(binary: str, folder: Path, upstream: str, *, rate: int, burst: int) -> Generator[Nginx]:
    """Start one before ``upstream`` (``http://127.0.0.1:8888``), and stop it at the end.

    :param rate: requests a second.
    :param burst: how many more may come at once.
    """
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers cannot write into the folder
    settings = folder / "nginx.conf"
    parts = {"folder": folder, "port": port, "upstream": upstream, "rate": rate, "burst": burst, "user": user}
    settings.write_text(SETTINGS.format(**parts), encoding="utf-8")
    log = folder / "error.log"
    process = subprocess.Popen([binary, "-c", str(settings), "-e", str(log)], stdin=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"

    with ended_after(process):
        wait_for(answers(process, url, log))
        yield Nginx(url, folder)
