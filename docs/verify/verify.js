"use strict";
/* Recomputes days drawn by fourbeat-schedule/1 (docs/sampling.md) and compares them with a file.
 *
 *   node verify.js [FILE]              Node 18 or newer; without FILE: the test vectors
 *   await verifyDays(JSON.parse(text)) in a browser's console, on an https page
 *
 * FILE is JSON, {"days": [...]}. A day has seed (hex), stream, participant, study_on, design,
 * prompts, minimum_gap and expires_after (seconds), window_instants; and what is to be checked:
 * any of draws, length, offsets, gap_relaxed, due_at, expires_at. Exit code 0: all equal; 1: not.
 */

const webCrypto = globalThis.crypto ?? require("node:crypto").webcrypto;
const FIELDS = ["draws", "length", "offsets", "gap_relaxed", "due_at", "expires_at"];
const KEEPS_GAP = new Set(["circle", "stratified_rotated"]);

const ascending = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const below = (u, n) => (u * n) >> 64n; // BigInt: the product has up to 81 bits
const seconds = (instant) => BigInt(Date.parse(instant)) / 1000n;
const instant = (second) => new Date(Number(second) * 1000).toISOString().replace(".000Z", "Z");

async function seededDraws(seed, stream, participant, studyOn, count) {
  const bytes = Uint8Array.from(seed.match(/../g), (hex) => parseInt(hex, 16));
  const hmac = { name: "HMAC", hash: "SHA-256" };
  const key = await webCrypto.subtle.importKey("raw", bytes, hmac, false, ["sign"]);
  const draws = [];
  for (let block = 0; draws.length < count; block++) {
    const message = `fourbeat-schedule/1\u0000${stream}|${participant}|${studyOn}\u0000${block}`;
    const signed = await webCrypto.subtle.sign("HMAC", key, new TextEncoder().encode(message));
    for (let at = 0; at < 32; at += 8) draws.push(new DataView(signed).getBigUint64(at));
  }
  return draws.slice(0, count);
}

const designs = {
  uniform: (L, k, g, u) => u.map((each) => below(each, L)),
  stratified: (L, k, g, u) => u.map((each, i) => (BigInt(i) * L + below(each, L)) / k),
  circle: (L, k, g, [turn, ...rest]) => {
    const slack = rest.map((each) => below(each, L - k * g + 1n)).sort(ascending);
    return [0n, ...slack].map((c, i) => (below(turn, L) + c + BigInt(i) * g) % L);
  },
  stratified_rotated: (L, k, g, [turn, ...rest]) => {
    const jitter = L / k - g + 1n;
    return rest.map((u, i) => (below(turn, L) + (BigInt(i) * L) / k + below(u, jitter)) % L);
  },
};

function place(offset, spans) {
  for (const [start, end] of spans) {
    if (offset < end - start) return start + offset;
    offset -= end - start;
  }
  throw new RangeError(`offset ${offset} is past the end of the day`);
}

async function drawDay(day) {
  const spans = day.window_instants.map(([start, end]) => [seconds(start), seconds(end)]);
  const length = spans.reduce((sum, [start, end]) => sum + end - start, 0n);
  const k = BigInt(day.prompts);
  const relaxed = length > 0n && KEEPS_GAP.has(day.design) && k * BigInt(day.minimum_gap) > length;
  const gap = relaxed ? length / k : BigInt(day.minimum_gap);
  const count = day.prompts + (day.design === "stratified_rotated" ? 1 : 0);
  const { seed, stream, participant, study_on } = day;
  const draws = await seededDraws(seed, stream, participant, study_on, count);
  const offsets = length ? designs[day.design](length, k, gap, draws).sort(ascending) : [];
  const due = offsets.map((offset) => place(offset, spans));
  const expires = due.map((at) => {
    const [, end] = spans.find(([from, to]) => from <= at && at < to);
    const after = at + BigInt(day.expires_after);
    return day.expires_by_window_end && end < after ? end : after;
  });
  return {
    draws: draws.map(String),
    length: Number(length),
    offsets: offsets.map(Number),
    gap_relaxed: relaxed,
    due_at: due.map(instant),
    expires_at: expires.map(instant),
  };
}

async function verifyDays(file, say = console.log) {
  const counts = { equal: 0, different: 0, "not drawn": 0 };
  for (const [number, day] of file.days.entries()) {
    const name = day.name ?? `day ${number + 1}, ${day.participant} ${day.study_on}`;
    if (day.design === "fixed") {
      counts["not drawn"]++;
      say(`not drawn  ${name}`);
      continue;
    }
    const drawn = await drawDay(day);
    const given = FIELDS.filter((field) => field in day);
    const wrong = given.filter((f) => JSON.stringify(day[f]) !== JSON.stringify(drawn[f]));
    counts[wrong.length || !given.length ? "different" : "equal"]++;
    say(`${wrong.length || !given.length ? "DIFFERENT" : "equal    "}  ${name}`);
    if (!given.length) say(`  nothing to check; drawn: ${JSON.stringify(drawn.due_at)}`);
    for (const f of wrong) say(`  ${f}: ${JSON.stringify(day[f])}; drawn: ${JSON.stringify(drawn[f])}`);
  }
  say(Object.entries(counts).map(([what, count]) => `${count} ${what}`).join(", "));
  return counts.different === 0 && counts.equal > 0;
}

if (typeof module !== "undefined" && require.main === module) {
  const path = process.argv[2] ?? `${__dirname}/../../tests/golden/schedule_vectors.json`;
  const file = JSON.parse(require("node:fs").readFileSync(path, "utf8"));
  verifyDays(file).then((equal) => process.exit(equal ? 0 : 1));
}
