// Builds what the wheel ships, into src/fourfold/serve/static: the same bytes from the same source, wherever it runs.
import { build } from "esbuild";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";

const notices = ["The pages hold parts of these packages, each under its own license.\n"];
const LIMIT = 320 * 1024; // bytes, gzipped, of everything together
const here = fileURLToPath(new URL(".", import.meta.url));
const target = fileURLToPath(new URL("../src/fourfold/serve/static/", import.meta.url));

for (const name of await readdir(target)) {
  if (/\.(js|css|svg)$/.test(name)) await rm(target + name);
}
const shared = {
  absWorkingDir: here,
  outdir: target,
  entryNames: "[name]",
  chunkNames: "[name]",
  bundle: true,
  target: "es2022",
  minify: true,
  legalComments: "none",
  jsx: "automatic",
  jsxImportSource: "preact",
  charset: "utf8",
  write: false,
};
const built = [
  await build({ ...shared, entryPoints: { app: "src/main.tsx" }, format: "esm", splitting: true }),
  await build({ ...shared, entryPoints: { theme: "src/theme-first.ts" }, format: "iife" }), // it runs at once, so it is no module
  await build({ ...shared, entryPoints: { app: "src/styles/all.css" } }),
];

const files = new Map(built.flatMap((one) => one.outputFiles).map((file) => [basename(file.path), file.contents]));
files.set("icon.svg", await readFile(here + "src/icon.svg"));
for (const [name, texts] of Object.entries({
  echarts: ["LICENSE", "NOTICE"],
  preact: ["LICENSE"],
  tslib: ["LICENSE.txt"],
  zrender: ["LICENSE"],
})) {
  const parts = await Promise.all(texts.map((file) => readFile(`${here}node_modules/${name}/${file}`, "utf8")));
  notices.push(`${name}\n\n${parts.join("\n")}`);
}
await writeFile(target + "LICENSES.txt", notices.join(`\n${"=".repeat(80)}\n\n`));

let total = 0;
for (const [name, contents] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
  await writeFile(target + name, contents);
  const size = gzipSync(contents, { level: 9 }).length;
  total += size;
  console.log(`${name.padEnd(16)} ${String(size).padStart(7)} bytes gzipped`);
}
console.log(`${"all".padEnd(16)} ${String(total).padStart(7)} bytes gzipped, of at most ${LIMIT}`);
if (total > LIMIT) process.exit(1);
