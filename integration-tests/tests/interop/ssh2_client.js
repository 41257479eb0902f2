// ssh2 for Node through the bastion: a command, a shell, a file there and back, by each of the ways it is told.
"use strict";
const { spawn } = require("node:child_process");
const { readFileSync } = require("node:fs");
const { Duplex } = require("node:stream");
const { Client } = require("ssh2");

const work = JSON.parse(process.argv[2]);
// It knows no host certificates: everything behind the bastion has the bastion's own key.
const hostKey = Buffer.from(work.host_key.split(" ")[1], "base64");
const common = { hostVerifier: (key) => key.equals(hostKey), readyTimeout: 30000 };

const heard = (begin) => new Promise((resolve, reject) => begin((error, result) => (error ? reject(error) : resolve(result))));

function connected(options) {
  return new Promise((resolve, reject) => {
    const client = new Client();
    client.on("ready", () => resolve(client)).on("error", reject);
    client.on("keyboard-interactive", (name, text, lang, prompts, answer) => answer(prompts.map(() => work.codes.shift())));
    client.connect({ ...common, ...options });
  });
}

const loggedIn = (username) =>
  connected({ host: "127.0.0.1", port: work.port, username, privateKey: readFileSync(work.key), tryKeyboard: true });
const inside = (sock) => connected({ sock, username: "root" });

function ended(stream) {
  const seen = { out: "", err: "" };
  stream.on("data", (data) => (seen.out += data));
  stream.stderr.on("data", (data) => (seen.err += data));
  return new Promise((resolve) => stream.on("close", (status) => resolve({ ...seen, status })));
}

async function does(client, way, there, back) {
  const { out, err, status } = await ended(await heard((done) => client.exec(work.line, done)));
  const shell = await heard((done) => client.shell({ term: "xterm", cols: 100, rows: 30 }, done));
  shell.write("stty size; exit 7\n");
  const shown = await ended(shell);
  const sftp = await heard((done) => client.sftp(done));
  await heard((done) => sftp.fastPut(work.file, there, done));
  await heard((done) => sftp.fastGet(there, back, done));
  const missing = await heard((done) => sftp.stat(`${there}-missing`, done)).then(() => "there", () => "refused");
  const size = shown.out.includes("30 100") ? "30 100" : shown.out;
  console.log(JSON.stringify({ way, out, err, status, shell: [size, shown.status], missing }));
}

async function main() {
  for (const [way, [there, back]] of work.ways) {
    if (way === "name") {
      const client = await loggedIn("ana+root+db1");
      await does(client, way, there, back);
      client.end();
    } else if (way === "jump") {
      const outer = await loggedIn("ana");
      const client = await inside(await heard((done) => outer.forwardOut("127.0.0.1", 0, "db1", 22, done)));
      await does(client, way, there, back);
      client.end();
      outer.end();
    } else {
      const ssh = spawn("sh", ["-c", `exec ${work.proxy}`], { stdio: ["pipe", "pipe", "inherit"] });
      const client = await inside(Duplex.from({ readable: ssh.stdout, writable: ssh.stdin }));
      await does(client, way, there, back);
      client.end();
      ssh.kill();
    }
  }
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
