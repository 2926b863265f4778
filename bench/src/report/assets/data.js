'use strict';
// The data of the page: columns of small numbers, see report/pack.rs. Times are microseconds
// since the operations began.

const LOST = -1, UNDERWAY = -2;

async function unpack() {
  const text = atob(document.getElementById('data').textContent.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  const all = new Uint8Array(await new Response(stream).arrayBuffer());
  const length = new DataView(all.buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(all.subarray(4, 4 + length)));
  const block = name => {
    const place = head.blocks[name];
    const start = place ? 4 + length + place[0] : 0;
    return all.subarray(start, start + (place ? place[1] : 0));
  };
  return { head, block, text: name => new TextDecoder().decode(block(name)) };
}

// LEB128 numbers.
function numbers(bytes) {
  let count = 0;
  for (let i = 0; i < bytes.length; i++) if (bytes[i] < 128) count++;
  const out = new Float64Array(count);
  let at = 0, value = 0, scale = 1;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    value += (byte & 127) * scale;
    if (byte < 128) { out[at++] = value; value = 0; scale = 1; } else scale *= 128;
  }
  return out;
}

function sums(deltas, from) {
  let sum = from;
  for (let i = 0; i < deltas.length; i++) { sum += deltas[i]; deltas[i] = sum; }
  return deltas;
}

// Messages come in blocks of so many; a block knows when its last message arrived.
const BLOCK = 2048;

function readMessages({ head, block, text }) {
  const sent = sums(numbers(block('sentAt')), head.messagesFrom || 0);
  const took = numbers(block('took')), kind = Uint32Array.from(numbers(block('kind')));
  const back = numbers(block('cause'));
  const arrived = new Float64Array(sent.length), cause = new Int32Array(sent.length);
  const lastArrival = new Float64Array(Math.ceil(sent.length / BLOCK)).fill(-Infinity);
  let last = 0;
  for (let i = 0; i < sent.length; i++) {
    arrived[i] = took[i] === 0 ? LOST : took[i] === 1 ? UNDERWAY : took[i] - 2;
    cause[i] = back[i] === 0 ? -1 : i - back[i];
    const end = took[i] === 1 ? Infinity : sent[i] + Math.max(0, arrived[i]);
    const at = Math.floor(i / BLOCK);
    if (end > lastArrival[at]) lastArrival[at] = end;
    if (end > last && end < Infinity) last = end;
  }
  const kinds = (head.kinds || []).map(k => ({ src: k[0], dest: k[1], type: k[2] }));
  const copies = new Map(head.copies || []);
  let lines = null;
  const body = i => {
    lines = lines || text('bodies').split('\n');
    const line = lines[i - head.bodiesFrom];
    return i >= head.bodiesFrom && line ? line : null;
  };
  const median = medianOf(arrived, kind, kinds, head);
  return { count: sent.length, last, sent, took: arrived, kind, cause, lastArrival, kinds, copies, body,
    types: head.types || [], parties: head.parties || [], median, late: Math.max(1000, 5 * median) };
}

// The median latency between servers. Five times as long, and at least a millisecond, is late.
function medianOf(took, kind, kinds, head) {
  const server = (head.parties || []).map(name => !isClient(name, head)), sample = [];
  const step = Math.max(1, Math.floor(took.length / 20000));
  for (let i = 0; i < took.length; i += step) {
    const k = kinds[kind[i]];
    if (took[i] >= 0 && server[k.src] && server[k.dest]) sample.push(took[i]);
  }
  sample.sort((a, b) => a - b);
  return sample.length ? sample[sample.length >> 1] : 0;
}

function isClient(name, head) {
  return /^c\d+$/.test(name) && !head.nodes.includes(name);
}

function readOperations({ head, block, text }) {
  const at = sums(numbers(block('opAt')), head.opsFrom || 0), took = numbers(block('opTook'));
  const process = numbers(block('opProcess')), kind = numbers(block('opKind'));
  const index = numbers(block('opIndex')), count = at.length;
  const f = new Uint16Array(count), outcome = new Uint8Array(count), last = new Uint8Array(count);
  const node = new Int32Array(count).fill(-1);
  for (let i = 0; i < count; i++) {
    last[i] = kind[i] % 2;
    outcome[i] = Math.floor(kind[i] / 2) % 3;
    f[i] = Math.floor(kind[i] / 6);
    took[i] = took[i] - 1;
    if (head.concurrency && head.nodes.length) node[i] = process[i] % head.concurrency % head.nodes.length;
  }
  let lines = null;
  const texts = i => {
    lines = lines || text('opText').split('\n');
    return (lines[i] || '').split('\x1f');
  };
  return { count, at, took, process, f, outcome, last, node, index, texts, fs: head.fs || [] };
}

const OUTCOMES = ['ok', 'fail', 'info'];

// The first position at which the sorted numbers are not below `value`.
function lowerBound(sorted, value) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1; else high = middle;
  }
  return low;
}

function seconds(micros) {
  const digits = Math.abs(micros) < 1e6 ? 4 : 3;
  return (micros / 1e6).toFixed(digits) + ' s';
}

function duration(micros) {
  if (micros < 1000) return Math.round(micros) + ' µs';
  if (micros < 1e6) return (micros / 1e3).toFixed(micros < 1e4 ? 2 : 1) + ' ms';
  return (micros / 1e6).toFixed(2) + ' s';
}
