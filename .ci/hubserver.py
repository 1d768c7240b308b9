"""hubserver.py DIR LOG [RATE]: a hub on loopback with the repository me/tiny, whose files are those of DIR. Files above
100 kB are in Git LFS and lie at another host. With a RATE in bytes a second they are sent slowly. Prints its address;
LOG gets a line for each file that was sent: its name, the bytes, and the token that came with the request."""
import hashlib, http.server, json, os, sys, threading, time

folder, log = sys.argv[1], open(sys.argv[2], "a", buffering=1)
rate = float(sys.argv[3]) if len(sys.argv) > 3 else 0
SHA = hashlib.sha1(folder.encode()).hexdigest()
files = {name: open(os.path.join(folder, name), "rb").read() for name in sorted(os.listdir(folder))}
git = {n: hashlib.sha1(b"blob %d\0" % len(d) + d).hexdigest() for n, d in files.items()}
lfs = {n: hashlib.sha256(d).hexdigest() for n, d in files.items() if len(d) > 100_000}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, code, body=b"", **header):
        self.send_response(code)
        for key, value in header.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", header.pop("length", len(body)))
        self.end_headers()
        if self.command == "GET":
            try:
                self.wfile.write(body)
            except OSError:  # the client was killed
                pass

    def entry(self, name):
        e = {"type": "file", "path": name, "size": len(files[name]), "oid": git[name]}
        if name in lfs:
            e["lfs"] = {"oid": lfs[name], "size": len(files[name]), "pointerSize": 130}
        return e

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0]
        base = f"/me/tiny/resolve/{SHA}/"
        path = path.replace("/me/tiny/resolve/main/", base)
        if path in ("/api/models/me/tiny", "/api/models/me/tiny/revision/main"):
            info = {"id": "me/tiny", "modelId": "me/tiny", "sha": SHA, "siblings": [{"rfilename": n} for n in files]}
            return self.reply(200, json.dumps(info).encode(), Content_Type="application/json")
        if path == f"/api/models/me/tiny/tree/{SHA}":
            tree = json.dumps([self.entry(n) for n in files]).encode()
            return self.reply(200, tree, Content_Type="application/json")
        if path.startswith(base) and path[len(base):] in files:
            name = path[len(base):]
            header = {"X_Repo_Commit": SHA, "ETag": f'"{git[name]}"', "Accept_Ranges": "bytes"}
            if name in lfs:
                header |= {"X_Linked_Etag": f'"{lfs[name]}"', "X_Linked_Size": str(len(files[name])),
                           "Location": f"http://localhost:{port}/lfs/{name}"}
                return self.reply(302, **header)
            return self.send(name, header)
        if path.startswith("/lfs/"):
            return self.send(path[5:], {"Accept_Ranges": "bytes"})
        self.reply(404, X_Error_Code="RepoNotFound")

    def send(self, name, header):
        data, off = files[name], 0
        if self.command == "HEAD":
            self.send_response(200)
            for key, value in header.items():
                self.send_header(key.replace("_", "-"), value)
            self.send_header("Content-Length", len(data))
            return self.end_headers()
        want = self.headers.get("Range")
        self.send_response(206 if want else 200)
        if want:
            off = int(want[6:].split("-")[0])
            self.send_header("Content-Range", f"bytes {off}-{len(data) - 1}/{len(data)}")
        for key, value in header.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", len(data) - off)
        self.end_headers()
        begin, step = off, 64 << 10
        try:
            while off < len(data):
                off += self.wfile.write(data[off:off + step])
                if rate:
                    time.sleep(step / rate)
        except OSError:
            pass
        log.write(f"{name} {off - begin} {self.headers.get('Host')} {self.headers.get('Authorization', '-')}\n")


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
port = server.server_address[1]
print(f"http://127.0.0.1:{port}", flush=True)
server.serve_forever()
