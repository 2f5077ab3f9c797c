// How far the core's estimate of tokens is from what o200k_base makes of the
// same texts. For another program, the last lines are
//
//   tokens_median <percent>      error per text, texts not tuned on
//   tokens_corrected <percent>   error per request after three turns, see below
//   tokens_mbs <number>          MB of ASCII estimated in a second of CPU
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { modules, work } from "./places.mjs";

const program = join(work, "estimate");
const { encode } = await import(join(modules, "gpt-tokenizer/esm/encoding/o200k_base.js"));
const count = (text) => encode(text, { disallowedSpecial: new Set() }).length;

function estimate(list) {
  const records = list.flatMap((text) => {
    const bytes = Buffer.from(text);
    return [Buffer.from(`${bytes.length}\n`), bytes];
  });
  const out = execFileSync(program, { input: Buffer.concat(records), maxBuffer: 1 << 26 });
  return out.toString().trim().split("\n").map(Number);
}

let seed = 7;
function random(below) {
  seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
  return Math.floor((seed / 4294967296) * below);
}
const one_of = (list) => list[random(list.length)];

// -- Texts --------------------------------------------------------------------

// As many of a class as there is time for; the file is in an order by hash.
const most = { tune: 25, report: 90, unseen: 90 };
const taken = {};
const texts = readFileSync(join(work, "corpus.jsonl"), "utf8")
  .split("\n")
  .map((line) => JSON.parse(line))
  .filter((text) => {
    const key = `${text.class} ${text.part} ${text.source}`;
    taken[key] = (taken[key] ?? 0) + 1;
    return taken[key] <= most[text.part];
  });
const reported = texts.filter((text) => text.part === "report");
const of_class = (kind) => reported.filter((text) => text.class === kind).map((text) => text.text);

// The first `length` characters, to the end of a word.
function cut(text, length) {
  if (text.length <= length) return text;
  const space = text.slice(0, length).search(/\s\S*$/);
  return text.slice(0, space > length / 2 ? space : length).toWellFormed();
}

// What people and models write to each other: prose with code, JSON, lists and
// signs between. Put together, since no package holds chats.
function message(kind, length) {
  let text = cut(one_of(of_class(kind)), length);
  const more = random(6);
  if (more === 0) text += "\n\n```\n" + cut(one_of(of_class("code")), length) + "\n```\n";
  if (more === 1) text += "\n\n" + cut(one_of(of_class("json")), length);
  if (more === 2)
    text = text
      .split("\n")
      .map((line, i) => `${i + 1}. **${line.slice(0, 12)}**${line.slice(12)}`)
      .join("\n");
  if (more === 3) text += one_of([" 😀", " 👍", "!!!", "?", " 🚀🚀", " :-)"]);
  return text;
}

const spoken = [
  "en",
  "en",
  "en",
  "de",
  "fr",
  "es",
  "pt",
  "ru",
  "zh",
  "ja",
  "ko",
  "ar",
  "hi",
  "he",
  "tr",
  "pl",
  "el",
  "uk",
].filter((kind) => of_class(kind).length >= 5);
for (let i = 0; i < 120; i++) {
  const kind = one_of(spoken);
  texts.push({
    class: "mixed chat",
    part: "report",
    text: message(kind, 150 + random(400)) + "\n\n" + message(kind, 150 + random(900)),
  });
}

// -- Error per text -----------------------------------------------------------

const estimates = estimate(texts.map((text) => text.text));
texts.forEach((text, i) => {
  text.tokens = count(text.text);
  text.error = Math.abs(estimates[i] / text.tokens - 1);
  text.excess = estimates[i] / text.tokens - 1;
});

function quantile(list, part) {
  const sorted = list.toSorted((a, b) => a - b);
  return sorted.length
    ? sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]
    : NaN;
}
const percent = (value) => (100 * value).toFixed(1);
const own_names = {
  code: "code",
  json: "JSON",
  html: "HTML",
  markdown: "Markdown",
  "mixed chat": "mixed chat",
};
const languages = new Intl.DisplayNames("en", { type: "language", fallback: "none" });
const shown_alone = (
  "ar bg bn ca cs da de el en es fa fi fr gu he hi hu id it ja ka ko lt mr nl pl pt ro ru sr sv " +
  "ta te th tr uk vi zh zh-hant code json html markdown"
)
  .split(" ")
  .concat("mixed chat");
const name_of = (kind) => own_names[kind] ?? languages.of(kind);

function row(title, list) {
  if (!list.length) return;
  const errors = list.map((text) => text.error);
  console.log(
    `${title.padEnd(28)} ${String(list.length).padStart(6)} ${percent(quantile(errors, 0.5)).padStart(8)} ` +
      `${percent(quantile(errors, 0.9)).padStart(6)} ${percent(
        quantile(
          list.map((text) => text.excess),
          0.5,
        ),
      ).padStart(7)}`,
  );
}

function table(title, list) {
  if (!list.length) return;
  console.log(`\n${title.padEnd(28)}  texts median %  p90 %  bias %`);
  const kinds = [...new Set(list.map((text) => text.class))];
  const shown = kinds
    .filter(
      (kind) =>
        shown_alone.includes(kind) && list.filter((text) => text.class === kind).length >= 3,
    )
    .sort((a, b) => name_of(a).localeCompare(name_of(b)));
  for (const kind of shown)
    row(
      name_of(kind),
      list.filter((text) => text.class === kind),
    );
  row(
    "other languages",
    list.filter((text) => !shown.includes(text.class)),
  );
  row("all", list);
}

const part = (wanted) => texts.filter((text) => text.part === wanted);
table("not tuned on", part("report"));
table("from a source never tuned on", part("unseen"));
console.log();
row("tuned on", part("tune"));

const wanted = [
  "en",
  "de",
  "fr",
  "ru",
  "el",
  "ar",
  "he",
  "hi",
  "bn",
  "ta",
  "th",
  "ka",
  "zh",
  "ja",
  "ko",
  "code",
  "json",
];
const without = wanted.filter((kind) => !part("report").some((text) => text.class === kind));
if (without.length)
  console.log(`missing classes: ${without.map((kind) => name_of(kind)).join(", ")}`);
const missing = existsSync(join(work, "missing.json"))
  ? JSON.parse(readFileSync(join(work, "missing.json"), "utf8"))
  : [];
if (missing.length) console.log(`missing packages: ${missing.join(", ")}`);

// -- After correction ---------------------------------------------------------

// Each reply of a model reports what its request and its answer cost in truth.
// The next request is that plus the new message, whose estimate is scaled by
// what estimates were off by so far. A message costs 4 tokens more than its
// text, a request 3.
const FRAME = 4,
  REQUEST = 3;
const errors = { first: [], later: [], message: [], plain: [] };
for (let i = 0; i < 40; i++) {
  const kind = one_of(spoken);
  let known = REQUEST,
    truth = 0,
    guess = 0;
  for (let turn = 1; turn <= 6; turn++) {
    const said = [message(kind, 40 + random(600)), message(kind, 200 + random(1800))];
    const [user, answer] = said.map(count);
    const [user_guess, answer_guess] = estimate(said);
    const scale = guess ? truth / guess : 1;
    const request = known + FRAME + user;
    const error = Math.abs((known + FRAME + scale * user_guess) / request - 1);
    if (turn === 1) errors.first.push(error);
    if (turn > 3) {
      errors.later.push(error);
      errors.message.push(Math.abs((scale * user_guess) / user - 1));
      errors.plain.push(Math.abs(user_guess / user - 1));
    }
    truth += user + answer;
    guess += user_guess + answer_guess;
    known = request + FRAME + answer;
  }
}
console.log("\nrequests of 40 conversations    median %  p90 %");
for (const [title, list] of [
  ["first request", errors.first],
  ["after three turns", errors.later],
  ["  its new message, scaled", errors.message],
  ["  its new message, unscaled", errors.plain],
])
  console.log(
    `${title.padEnd(34)} ${percent(quantile(list, 0.5)).padStart(5)} ${percent(quantile(list, 0.9)).padStart(6)}`,
  );

// -- Speed --------------------------------------------------------------------

const ascii = texts
  .filter((text) => ["en", "code", "json"].includes(text.class) && /^[\x00-\x7f]*$/.test(text.text))
  .map((text) => text.text)
  .join("\n");
const other = texts
  .filter((text) => /[\u0370-\uffff]/.test(text.text))
  .map((text) => text.text)
  .join("\n");
const speed = (text) =>
  Number(execFileSync(program, ["--speed"], { input: text, maxBuffer: 1 << 20 }));
const mbs = speed(ascii);
console.log(`\nMB/s: ${mbs} ASCII, ${speed(other)} other scripts\n`);
console.log(
  `tokens_median ${(
    100 *
    quantile(
      part("report").map((text) => text.error),
      0.5,
    )
  ).toFixed(2)}`,
);
console.log(`tokens_corrected ${(100 * quantile(errors.later, 0.5)).toFixed(2)}`);
console.log(`tokens_mbs ${mbs}`);
