// Makes src/oc_tokens_table.h: learns, from the texts of corpus.jsonl that are
// for tuning, how likely a token of o200k_base begins at a character, given
// the two characters before it. Takes about two minutes:
//
//   sh bench/tokens/install.sh && node bench/tokens/corpus.mjs --tune
//   node bench/tokens/tune.mjs
//
// How: the cost of a character is the sum of three numbers: one for its block
// of Unicode (the mean of what its characters cost), one for the pair of it
// and the character before, one for the triple. Pairs and triples are hashed
// into tables too small for all of them; the frequent ones win. The numbers
// are fitted by gradient descent (Adagrad, L2 penalty) to the true counts of
// pieces of text, first short ones, then longer ones, because what matters in
// the end is the count of a whole text. `features` below and oc_tokens.c must
// say the same.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { modules, work } from "./places.mjs";

const options = Object.fromEntries(process.argv.slice(2).map((word) => word.split("=")));
const BLOCKS = 252;
const BITS = Number(options.bits ?? 12);
const SIZE = 1 << BITS;
const SCALE = 64;
const PENALTY = Number(options.penalty ?? 1e-3);
const RATE = Number(options.rate ?? 0.05);
const LENGTHS = (options.lengths ?? "12,12,40,40,40,200,200,200,1000,1000").split(",").map(Number);

// -- Texts and what they really cost ------------------------------------------

let seed = 1;
function random(below) {
  seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
  return Math.floor((seed / 4294967296) * below);
}

// What no package holds enough of, and chats do: identifiers, hashes, base64,
// rulers, and long runs of one character.
function made_up() {
  const result = [];
  const draw = (alphabet, length) =>
    Array.from({ length }, () => alphabet[random(alphabet.length)]).join("");
  const hex = "0123456789abcdef";
  const base64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (let i = 0; i < 60; i++) {
    result.push(draw(base64, 600), draw(hex, 600), draw("0123456789", 400));
    result.push(
      Array.from({ length: 12 }, () => [8, 4, 4, 4, 12].map((n) => draw(hex, n)).join("-")).join(
        "\n",
      ),
    );
    result.push(
      Array.from({ length: 12 }, () => `"id":"${draw(base64.slice(0, 62), 24)}"`).join(","),
    );
  }
  const runs = [
    "a",
    " ",
    "-",
    "=",
    "\n",
    "*",
    ".",
    "x",
    "0",
    "A",
    "_",
    "#",
    "~",
    "é",
    "я",
    "的",
    "あ",
    "한",
    "\u{1f600}",
    "\t",
    "!",
    "ha",
    "na ",
    "| ",
    "- ",
    "лол",
    "\u0001",
    "\u00a0",
  ];
  for (const run of runs) for (const times of [40, 100, 300, 900]) result.push(run.repeat(times));
  const emoji = [
    "\u{1f600}",
    "\u{1f44d}",
    "\u{1f389}",
    "\u2764\ufe0f",
    "\u{1f680}",
    "\u2705",
    "\u{1f914}",
    "\u{1f44d}\u{1f3fd}",
    "\u{1f468}\u200d\u{1f469}\u200d\u{1f467}",
    "\u{1f1e9}\u{1f1ea}",
    "\u{1f525}",
    "\u{1f64f}",
  ];
  for (let i = 0; i < 40; i++) {
    result.push(
      Array.from({ length: 60 }, () => emoji[random(emoji.length)]).join(i % 2 ? "" : " "),
    );
    result.push(
      Array.from({ length: 200 }, () => String.fromCodePoint(0x1f300 + random(0x300))).join(""),
    );
  }
  return result.map((text) => ({ class: "made up", part: "tune", text }));
}

const { encode } = await import(join(modules, "gpt-tokenizer/esm/encoding/o200k_base.js"));
const { default: ranks } = await import(join(modules, "gpt-tokenizer/esm/bpeRanks/o200k_base.js"));
const token_bytes = Uint16Array.from(ranks, (token) =>
  typeof token === "string" ? Buffer.byteLength(token) : token.length,
);

const texts = readFileSync(join(work, "corpus.jsonl"), "utf8")
  .split("\n")
  .map((line) => JSON.parse(line))
  .filter((text) => text.part === "tune" || options.report)
  .concat(made_up());
for (const text of texts)
  text.points = Array.from(text.text, (character) => character.codePointAt(0));
const total = texts.reduce((sum, text) => sum + text.points.length, 0);
const begins = new Uint8Array(total); // tokens that begin at a character
const blocks = new Uint8Array(total);
const pairs = new Uint16Array(total);
const triples = new Uint16Array(total);

function label(text) {
  const tokens = encode(text.text, { disallowedSpecial: new Set() });
  text.tokens = tokens.length;
  let token = 0,
    token_at = 0,
    byte = 0,
    at = text.at;
  for (const point of text.points) {
    byte += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    while (token < tokens.length && token_at < byte) {
      begins[at]++;
      token_at += token_bytes[tokens[token++]];
    }
    at++;
  }
}

// -- What oc_tokens.c sees of a text ------------------------------------------

const block = (point) =>
  point < 0x3000
    ? point >> 6
    : point < 0x10000
      ? 192 + ((point - 0x3000) >> 10)
      : 244 + ((point >> 12) & 7);

// Lower case of the letters that cost one addition; 0 when it is none of them.
const lower = (point) =>
  (point >= 0x41 && point <= 0x5a) ||
  (point >= 0xc0 && point <= 0xde && point !== 0xd7) ||
  (point >= 0x391 && point <= 0x3a9) ||
  (point >= 0x410 && point <= 0x42f)
    ? point + 32
    : 0;

const mix = (hash, symbol) => Math.imul(hash ^ symbol, 0x9e3779b1);

function features(text) {
  let before = 10,
    before2 = 10,
    was_upper = 0,
    digits = 0,
    at = text.at;
  for (const point of text.points) {
    let symbol = point,
      upper = 0;
    if (point >= 0x30 && point <= 0x39) {
      symbol = 0x200000 + digits;
      digits = digits === 2 ? 0 : digits + 1;
    } else {
      digits = 0;
      if (lower(point)) {
        symbol = lower(point);
        upper = was_upper ? 2 : 1;
      }
    }
    was_upper = upper;
    const pair = mix(mix(0x12345, symbol + (upper << 22)), before);
    blocks[at] = block(point);
    pairs[at] = pair >>> (32 - BITS);
    triples[at] = mix(pair, before2) >>> (32 - BITS);
    before2 = before;
    before = symbol;
    at++;
  }
}

let at = 0;
for (const text of texts) {
  text.at = at;
  text.length = text.points.length;
  label(text);
  features(text);
  at += text.length;
  delete text.points;
}

// -- Fitting ------------------------------------------------------------------

// Languages with few texts count for more than their share; English, what
// programs write, and stories and sayings (nearer to talk than manuals) twice.
const classes = {};
const tune = texts.filter((text) => text.part === "tune");
for (const text of tune) classes[text.class] = (classes[text.class] ?? 0) + 1;
const twice = ["en", "code", "json", "markdown"];
for (const text of tune)
  text.weight =
    Math.sqrt(250 / classes[text.class]) *
    (twice.includes(text.class) || ["story", "sayings", "book"].includes(text.source) ? 2 : 1);

const base = new Float64Array(BLOCKS);
{
  const seen = new Float64Array(BLOCKS);
  for (const text of tune)
    for (let i = text.at; i < text.at + text.length; i++) {
      base[blocks[i]] += begins[i];
      seen[blocks[i]]++;
    }
  // A block never seen: bytes of characters that no token joins.
  for (let i = 0; i < BLOCKS; i++)
    base[i] = (base[i] + 10 * (i < 32 ? 1 : i < 244 ? 2 : 2.5)) / (seen[i] + 10);
}
const base_pace = new Float64Array(BLOCKS).fill(1);
const pair_cost = new Float64Array(SIZE),
  pair_pace = new Float64Array(SIZE).fill(1);
const triple_cost = new Float64Array(SIZE),
  triple_pace = new Float64Array(SIZE).fill(1);

const cost = (i) => base[blocks[i]] + pair_cost[pairs[i]] + triple_cost[triples[i]];

function learn(from, to, weight) {
  let error = 0;
  for (let i = from; i < to; i++) error += Math.max(0, cost(i)) - begins[i];
  const slope = (error * weight * Math.sqrt(12)) / (to - from);
  for (let i = from; i < to; i++) {
    if (slope > 0 && cost(i) < 0) continue;
    const b = blocks[i],
      p = pairs[i],
      t = triples[i];
    base_pace[b] += slope * slope;
    base[b] -= (RATE * slope) / Math.sqrt(base_pace[b]);
    const dp = slope + PENALTY * pair_cost[p],
      dt = slope + PENALTY * triple_cost[t];
    pair_pace[p] += dp * dp;
    pair_cost[p] -= (RATE * dp) / Math.sqrt(pair_pace[p]);
    triple_pace[t] += dt * dt;
    triple_cost[t] -= (RATE * dt) / Math.sqrt(triple_pace[t]);
  }
}

function report(label_of) {
  const line = [label_of];
  for (const part of ["tune", "report", "unseen"]) {
    const errors = texts
      .filter((text) => text.part === part && text.class !== "made up")
      .map((text) => {
        let sum = 0;
        for (let i = text.at; i < text.at + text.length; i++) sum += Math.max(0, cost(i));
        return Math.abs(sum / text.tokens - 1);
      })
      .sort((a, b) => a - b);
    if (errors.length)
      line.push(
        `${part} ${(100 * errors[errors.length >> 1]).toFixed(2)} % ` +
          `(p90 ${(100 * errors[Math.floor(errors.length * 0.9)]).toFixed(2)} %)`,
      );
  }
  console.log(line.join("  "));
}

for (const length of LENGTHS) {
  for (let i = tune.length - 1; i > 0; i--) {
    const j = random(i + 1);
    [tune[i], tune[j]] = [tune[j], tune[i]];
  }
  for (const text of tune)
    for (let from = text.at; from < text.at + text.length; from += length)
      learn(from, Math.min(from + length, text.at + text.length), text.weight);
  report(`pieces of ${length}`);
}

// -- The table ----------------------------------------------------------------

const fixed = (value, low, high) => Math.max(low, Math.min(high, Math.round(value * SCALE)));
const base_out = Array.from(base, (value) => fixed(value, 0, 255));
const pair_out = Array.from(pair_cost, (value) => fixed(value, -128, 127));
const triple_out = Array.from(triple_cost, (value) => fixed(value, -128, 127));
for (let i = 0; i < BLOCKS; i++) base[i] = base_out[i] / SCALE;
for (let i = 0; i < SIZE; i++) {
  pair_cost[i] = pair_out[i] / SCALE;
  triple_cost[i] = triple_out[i] / SCALE;
}
report("rounded");

function rows(values) {
  const lines = [];
  let line = " ";
  for (const value of values) {
    if (line.length + String(value).length + 2 > 79) {
      lines.push(line);
      line = " ";
    }
    line += ` ${value},`;
  }
  return lines.concat(line.replace(/,$/, "")).join("\n");
}

if (!options.dry)
  writeFileSync(
    join(dirname(fileURLToPath(import.meta.url)), "../../src/oc_tokens_table.h"),
    `/*
 * What a character costs, in ${SCALE}ths of a token: for oc_tokens.c alone.
 *
 * Made by bench/tokens/tune.mjs, which says how, from ${tune.length} texts of
 * ${Object.keys(classes).length} languages and kinds. Not to be edited.
 */
#ifndef OC_TOKENS_TABLE_H
#define OC_TOKENS_TABLE_H

#define TOKENS_SCALE ${SCALE}
#define TOKENS_BITS ${BITS}

/* Characters of a block of Unicode, in the mean. */
static const unsigned char block_cost[${BLOCKS}] = {
${rows(base_out)}
};

/* Added for a character and the one before it. */
static const signed char pair_cost[1 << TOKENS_BITS] = {
${rows(pair_out)}
};

/* Added for a character and the two before it. */
static const signed char triple_cost[1 << TOKENS_BITS] = {
${rows(triple_out)}
};

#endif
`,
  );
