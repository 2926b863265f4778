// The messages that decide the verdict, and what their bodies say in short.

// Microseconds between an operation's times in the history and those of its messages: a run of
// processes notes them one after the other.
const BESIDE = 2000;
// Of an operation that never completed, its first messages only: 30 s.
const LONGEST = 30e6;
const WORDS_MAX = 30, TOLD_MAX = 70;

// The messages between the client of an operation and its node while it went on. A client has one
// operation at a time, which may take several requests.
function messagesOf({ messages, ops, head }, row, used) {
  const { sent, took, kind, kinds, parties, types, count } = messages;
  const at = ops.at[row], end = ops.took[row] < 0 ? Infinity : at + ops.took[row];
  const node = head.nodes[ops.node[row]], own = new Map(), first = lowerBound(sent, at - 2);
  for (let i = first; i < count && sent[i] <= at + BESIDE; i++) {
    const { src, dest, type } = kinds[kind[i]];
    if (isClient(parties[src], head) && parties[dest] === node && types[type] !== 'init' && !used.has(i) && !own.has(src)) own.set(src, { client: src, first: i, all: [], last: -Infinity });
  }
  for (let i = first; i < count && sent[i] <= Math.min(end + 2, at + LONGEST); i++) {
    const { src, dest } = kinds[kind[i]], one = own.get(src) ?? own.get(dest);
    // The answer to the client's last operation may have left within the same moment.
    if (!one || i < one.first) continue;
    one.all.push(i);
    if (dest === one.client && took[i] >= 0) one.last = sent[i] + took[i];
  }
  const fits = ({ last }) => (last < 0 ? end === Infinity : Math.abs(last - end) <= BESIDE);
  const all = [...own.values()];
  return all.find(fits) ?? all[0];
}

// For each message of the operations that the first anomaly names: whether it is the decisive
// one's. Of a broken invariant, which no operation shows, the last message that a node got is
// decisive. And for each client of these operations, its process.
function storyOf(model) {
  const { messages, ops, head } = model, told = new Map(), processes = new Map();
  const rows = messages.count > 0 ? head.story : [];
  for (const row of rows) {
    const found = messagesOf(model, row, told), isDecisive = row === head.focusRow;
    if (!found) continue;
    found.all.forEach(i => told.set(i, isDecisive));
    processes.set(found.client, ops.process[row]);
  }
  if (head.focusIsInput) {
    let last = -1, latest = -Infinity;
    for (let i = 0; i < messages.count; i++) {
      const arrival = messages.sent[i] + messages.took[i];
      if (messages.took[i] < 0 || arrival < latest || arrival > head.focus + 2) continue;
      if (head.nodes.includes(messages.parties[messages.kinds[messages.kind[i]].dest])) { last = i; latest = arrival; }
    }
    if (last >= 0) told.set(last, true);
  }
  return { told, processes };
}

// The part of the run in which the story takes place, if it is short enough to be seen at once.
function storyWindow({ messages, ops, head }) {
  const ends = head.story.map(row => ops.at[row] + Math.max(0, ops.took[row]));
  const from = Math.min(...head.story.map(row => ops.at[row])), to = Math.max(...ends);
  const inside = lowerBound(messages.sent, to) - lowerBound(messages.sent, from);
  return head.story.length > 0 && inside <= LABELLED ? { from, to } : null;
}

function cutTo(text, most) { return text.length > most ? text.slice(0, most - 1) + '…' : text; }

// A body in short, without the fields that every message has: `write 1 3`, `read_ok 2`.
function contentLabel(type, body, most) {
  if (body === null || type === 'init' || type === 'topology') return type;
  try {
    const { type: ignored, msg_id, in_reply_to, ...rest } = JSON.parse(body);
    const words = Object.values(rest).map(value => JSON.stringify(value).replaceAll('"', '').replaceAll(',', ' '));
    return cutTo([type, ...words].join(' '), most);
  } catch { return type; }
}

// What stands beside an arrow.
function labelOf(model, i) {
  const { messages, head, story } = model, type = typeOf(messages, i), body = messages.body(i);
  const { src, dest } = messages.kinds[messages.kind[i]];
  const isOfClient = [src, dest].some(party => isClient(messages.parties[party], head));
  if (isOfClient) return contentLabel(type, body, story.told.has(i) ? TOLD_MAX : WORDS_MAX);
  return raftLabel(type, body) ?? type;
}

// The first message in sight by which a node acts as the leader of a term.
function leadersIn({ messages }, seen) {
  const known = new Set(), first = [];
  for (const i of seen) {
    const term = raftLeads(typeOf(messages, i), messages.body(i)), src = messages.kinds[messages.kind[i]].src;
    if (term === null || known.has(`${src} ${term}`)) continue;
    known.add(`${src} ${term}`);
    first.push([i, `leads t${term}`]);
  }
  return first;
}

// The labels beside the arrows, where they cover no other: those of the story first, then the
// leaders and the clients' messages. Of many messages the others have none.
function labels(context, model, segments, seen) {
  const { messages, head, story } = model, taken = [], isFew = seen.length <= LABELLED;
  const where = new Map(segments.map(segment => [segment[0], segment]));
  const right = context.canvas.clientWidth - MARGIN.right;
  const put = (text, wanted, colour, shifts = [0]) => {
    const half = context.measureText(text).width / 2 + 3;
    const inside = px => Math.max(MARGIN.left + half, Math.min(right - half, px));
    const places = shifts.flatMap(dy => wanted.map(([px, py]) => [inside(px), py + dy]));
    const isFree = ([px, py]) => !taken.some(([l, r, y]) => px - half < r && px + half > l && Math.abs(y - py) < 12);
    const place = places.find(isFree);
    if (!place) return;
    const [px, py] = place;
    taken.push([px - half, px + half, py]);
    context.globalAlpha = 0.85;
    context.fillStyle = colours.back;
    context.fillRect(px - half, py - 7, 2 * half, 14);
    context.globalAlpha = 1;
    context.fillStyle = colour;
    context.fillText(text, px, py);
  };
  const rank = i => {
    if (story.told.has(i)) return story.told.get(i) ? 0 : 1;
    const { src, dest } = messages.kinds[messages.kind[i]];
    return [src, dest].some(party => isClient(messages.parties[party], head)) ? 3 : 4;
  };
  context.textAlign = 'center';
  context.font = '11px system-ui, sans-serif';
  const jobs = segments.map(([i]) => [rank(i), i, null]);
  if (seen.length <= 4 * LABELLED) leadersIn(model, seen).forEach(([i, text]) => jobs.push([2, i, text]));
  jobs.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  for (const [order, i, leads] of jobs) {
    if (!isFew && order > 2) break;
    const [, ax, ay, bx, by] = where.get(i) ?? [];
    if (ax === undefined) continue;
    if (leads) put(leads, [[ax, ay]], colours.ok);
    else put(labelOf(model, i), [0.5, 0.3, 0.7].map(part => [ax + (bx - ax) * part + 4, ay + (by - ay) * part]), order === 0 ? colours.bad : colours.ink, order < 3 ? [0, -13, 13] : [0]);
  }
  context.font = '12px system-ui, sans-serif';
}
