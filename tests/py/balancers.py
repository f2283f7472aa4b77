"""Balancers in front of servers on loopback, with the configurations of deploy/: only addresses and paths are others."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

from conftest import ROOT

PATH = os.environ["PATH"] + ":/usr/sbin"  # where Debian has them
HAPROXY = ROOT / "deploy" / "haproxy" / "haproxy.cfg"
NGINX = ROOT / "deploy" / "nginx"
SERVER = re.compile(r"^(\s*server )node1 10\.0\.0\.1:8080(.*)\n(?:\s*server node\d .*\n)+", re.MULTILINE)


class Unix(http.client.HTTPConnection):
    """HTTP on a socket in the file system: no port that somebody else could have."""

    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Balancer:
    def __init__(self, folder, command):
        self.socket, self.log = folder / "http.sock", folder / "balancer.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while not self.answers():
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)

    def connect(self):
        return Unix(self.socket)

    def answers(self):
        try:
            status = self.get("/version")[0]
        except (OSError, http.client.HTTPException):
            return False
        return status == 200

    def get(self, path):
        connection = self.connect()
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body

    def completion(self, body, **headers):
        """A new connection's; the status, and what it says."""
        connection = self.connect()
        connection.request("POST", "/v1/completions", body if isinstance(body, bytes) else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Haproxy(Balancer):
    """`changes`: pairs of what is in the configuration and what is to be there instead."""

    def __init__(self, folder, ports, changes=()):
        self.folder, self.changes, self.generation = folder, changes, 0
        self.write(ports)
        super().__init__(folder, [shutil.which("haproxy", path=PATH), "-W", "-f", folder / "haproxy.cfg"])

    def write(self, ports):
        self.generation += 1
        text = HAPROXY.read_text()
        nodes = r"".join(rf"\g<1>node{port} 127.0.0.1:{port}\g<2>\n" for port in ports)
        text, found = SERVER.subn(lambda m: re.sub("track by_model/node1", "@", m.expand(nodes)), text)
        assert found == 2
        text = re.sub(r"node(\d+) (\S+)(.*)@", r"node\1 \2\3track by_model/node\1", text)
        for before, after in (("    user haproxy\n    group haproxy\n", ""), ("/run/haproxy/admin.sock mode 660", f"{self.folder}/admin.sock mode 600"),
                              ("bind :8080", f"bind unix@{self.folder}/http.sock"),
                              # Which process it is: a reload is over when the new one answers.
                              ("frontend edgelora\n", f"frontend edgelora\n    http-request return status 200 content-type text/plain string {self.generation} if {{ path /generation }}\n"),
                              *self.changes):
            assert before in text, before
            text = text.replace(before, after)
        (self.folder / "haproxy.cfg").write_text(text)

    def reload(self, ports):
        self.write(ports)
        self.process.send_signal(signal.SIGUSR2)
        while self.get("/generation") != (200, str(self.generation).encode()):
            time.sleep(0.02)

    def ask(self, command):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self.folder / "admin.sock"))
            s.sendall(command.encode() + b"\n")
            text = b""
            while piece := s.recv(65536):
                text += piece
        return text.decode()

    def state(self, port):
        """"UP", "DOWN", "NOLB" (it says that it is not ready), with what belongs to it."""
        row = next(x for x in self.ask("show stat").splitlines() if x.startswith(f"by_model,node{port},"))
        return row.split(",")[17]


class Nginx(Balancer):
    def __init__(self, folder, ports):
        text = (NGINX / "edgelora.conf").read_text()
        servers = re.findall(r"^    server 10\.0\.0\.\d:8080 .*\n", text, re.MULTILINE)
        assert len(servers) == 3
        text = text.replace("".join(servers), "".join(servers[0].replace("10.0.0.1:8080", f"127.0.0.1:{port}") for port in ports))
        for before, after in (("js_path /etc/nginx/njs", f"js_path {NGINX}"), ("listen 8080", f"listen unix:{folder}/http.sock")):
            assert before in text
            text = text.replace(before, after)
        paths = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (folder / "nginx.conf").write_text(
            f"load_module /usr/lib/nginx/modules/ngx_http_js_module.so;\ndaemon off;\nworker_processes 2;\npid {folder}/nginx.pid;\n"
            f"error_log {folder}/error.log;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}{text}}}\n")
        if os.geteuid() == 0:
            folder.chmod(0o777)
        super().__init__(folder, [shutil.which("nginx", path=PATH), "-c", folder / "nginx.conf", "-e", folder / "error.log"])
