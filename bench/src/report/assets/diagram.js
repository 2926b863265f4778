// The Lamport diagram: a lane for each party, time to the right, an arrow for each message.

const LANE_HIGH = 40, LANE_LOW = 26, FEW_LANES = 12, TOP = 26, ARROWS_MAX = 1500, LANES_MAX = 60, CLIENTS_MAX = 8, LABELLED = 90, SPANS_LABELLED = 12;

// Calls `see` for each message that is under way in the window and wanted.
function eachMessage(messages, view, wanted, see) {
  const end = lowerBound(messages.sent, view.to);
  for (let block = 0; block * BLOCK < end; block++) {
    if (messages.lastArrival[block] < view.from) continue;
    const stop = Math.min(end, (block + 1) * BLOCK);
    for (let i = block * BLOCK; i < stop; i++) {
      const until = messages.took[i] === UNDERWAY ? Infinity : messages.sent[i] + Math.max(0, messages.took[i]);
      if (until >= view.from && wanted[messages.kind[i]]) see(i);
    }
  }
}

// Places for the events of these messages, one beside the other: what happens within one moment
// of a simulated network without latency would else lie on one line. An arrival comes before
// the first message that it led to.
function evenPlaces(messages, seen, view, width) {
  const first = new Map(), events = [];
  for (const i of seen) {
    const cause = messages.cause[i];
    if (cause >= 0 && !first.has(cause)) first.set(cause, i);
  }
  for (const i of seen) {
    events.push([messages.sent[i], i, i, true]);
    if (messages.took[i] < 0) continue;
    const at = messages.sent[i] + messages.took[i], next = first.get(i);
    const order = next !== undefined && messages.sent[next] === at ? next - 0.5 : i + 0.25;
    events.push([at, order, i, false]);
  }
  const inside = events.filter(event => event[0] >= view.from && event[0] <= view.to);
  inside.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const room = (width - MARGIN.left - MARGIN.right) / (inside.length + 1), times = inside.map(event => event[0]);
  const sent = new Map(), arrived = new Map();
  inside.forEach(([, , i, isSent], at) => (isSent ? sent : arrived).set(i, MARGIN.left + (at + 1) * room));
  return { x: time => MARGIN.left + (lowerBound(times, time) + 0.5) * room, sent, arrived };
}

// Whether the clock of the run hardly moves between sending and arriving.
function isInstant(messages) {
  return messages.count > 0 && messages.median < 100;
}

// For each kind of message, whether the filters let it through.
function wantedKinds({ messages, head }, filter) {
  const client = messages.parties.map(name => isClient(name, head));
  return messages.kinds.map(kind => {
    if (!filter.clients && (client[kind.src] || client[kind.dest])) return false;
    if (filter.type !== '' && messages.types[kind.type] !== filter.type) return false;
    const names = [messages.parties[kind.src], messages.parties[kind.dest]];
    return filter.party === '' || names.includes(filter.party);
  });
}

// Which parties get a lane: all nodes, and of the others those that say or hear something.
function lanesOf({ messages, head, story }, seen) {
  const busy = new Set();
  for (const i of seen) { const kind = messages.kinds[messages.kind[i]]; busy.add(kind.src); busy.add(kind.dest); }
  const names = messages.parties, number = name => parseInt(name.slice(1), 10);
  const nodes = head.nodes.map(name => [name, names.indexOf(name)]);
  const others = [...busy].filter(i => !head.nodes.includes(names[i])).map(i => [names[i], i]);
  const clients = others.filter(([name]) => isClient(name, head)).sort((a, b) => number(a[0]) - number(b[0]));
  const services = others.filter(([name]) => !isClient(name, head));
  const lanes = [...nodes, ...services].slice(0, LANES_MAX), row = new Map(lanes.map(([, party], at) => [party, at]));
  // Clients connect anew again and again: many of them share a lane, but for those of the story.
  const isAlone = ([, party]) => clients.length <= CLIENTS_MAX || story.processes.has(party);
  for (const [name, party] of clients.filter(isAlone)) {
    row.set(party, lanes.length);
    lanes.push([story.processes.has(party) ? `${name} (${story.processes.get(party)})` : name, party]);
  }
  const rest = clients.filter(client => !isAlone(client));
  rest.forEach(([, party]) => row.set(party, lanes.length));
  if (rest.length > 0) lanes.push(['clients', -1]);
  return { lanes, row };
}

function diagram(model, view, filter, selected, focus) {
  const { messages, story } = model, wanted = wantedKinds(model, filter), found = [];
  eachMessage(messages, view, wanted, i => found.push(i));
  // Too many arrows are a grey wall: of those that arrived only each so-manieth is drawn.
  const every = Math.ceil(found.length / ARROWS_MAX);
  const seen = every <= 1 ? found : found.filter((i, n) => n % every === 0 || story.told.has(i) || (messages.took[i] < 0 && n % Math.ceil(every / 4) === 0));
  const { lanes, row } = lanesOf(model, seen);
  const canvas = document.getElementById('diagram'), LANE = lanes.length <= FEW_LANES ? LANE_HIGH : LANE_LOW;
  const { context, width, height } = prepare(canvas, TOP + lanes.length * LANE + 26);
  const even = filter.even ? evenPlaces(messages, seen, view, width) : null;
  const x = even ? even.x : scale(view, width).x;
  const places = i => {
    const end = messages.sent[i] + Math.max(0, messages.took[i]);
    return [even?.sent.get(i) ?? x(messages.sent[i]), even?.arrived.get(i) ?? x(end)];
  };
  const bottom = height - 22, lane = at => TOP + (at + 0.5) * LANE;
  if (!even) timeAxis(context, view, width, bottom);
  const faults = drawSpans(context, model, view, width, lanes, lane, x, LANE);
  context.textAlign = 'right';
  lanes.forEach(([name], at) => {
    context.strokeStyle = colours.line;
    context.beginPath(); context.moveTo(MARGIN.left, lane(at)); context.lineTo(width - MARGIN.right, lane(at)); context.stroke();
    context.fillStyle = colours.ink;
    context.fillText(name.length > 9 ? name.slice(0, 8) + '…' : name, MARGIN.left - 6, lane(at));
  });
  if (focus >= view.from && focus <= view.to) drawFocus(context, model, seen, places, x(focus), width, bottom);
  const chain = new Set(selected);
  context.save();
  context.beginPath(); context.rect(MARGIN.left, 0, width - MARGIN.left - MARGIN.right, height); context.clip();
  const segments = [];
  for (const pass of [false, true]) for (const i of pass ? selected : seen) {
    if (!pass && chain.has(i)) continue;
    const kind = messages.kinds[messages.kind[i]], from = row.get(kind.src), to = row.get(kind.dest);
    if (from === undefined || to === undefined) continue;
    const segment = arrow(context, messages, i, places(i), lane(from), lane(to), pass, chain.size > 0 && !pass, story.told.get(i));
    segments.push([i, ...segment]);
  }
  labels(context, model, segments, seen);
  context.restore();
  canvas.dataset.drawn = seen.length;
  canvas.dataset.found = found.length;
  canvas.dataset.told = seen.filter(i => story.told.has(i)).length;
  canvas.dataset.from = view.from;
  canvas.dataset.to = view.to;
  const part = every > 1 ? `, of which ${seen.length} are drawn (zoom in to see all)` : '';
  document.getElementById('diagram-note').textContent =
    `${found.length} messages from ${seconds(view.from)} to ${seconds(view.to)}${part}`
    + (faults.length > 0 ? `. Faults: ${cutTo(faults.join('; '), 400)}` : '');
  return (px, py) => hit(segments, px, py);
}

// The moment that decides, where the decisive answer arrives if it is in sight.
function drawFocus(context, { head, story }, seen, places, otherwise, width, bottom) {
  const answer = seen.findLast(i => story.told.get(i)), x = answer === undefined ? otherwise : places(answer)[1];
  context.fillStyle = context.strokeStyle = colours.bad;
  context.setLineDash([4, 4]);
  context.beginPath(); context.moveTo(x, TOP - 8); context.lineTo(x, bottom); context.stroke();
  context.setLineDash([]);
  context.textAlign = 'center';
  const label = cutTo(head.focusLabel, 90), half = context.measureText(label).width / 2;
  context.fillText(label, Math.max(MARGIN.left + half, Math.min(width - half - 2, x)), 8);
}

// Draws the faults over the lanes of their nodes, and returns them in words.
function drawSpans(context, { spans }, view, width, lanes, lane, x, LANE) {
  const isFew = spans.filter(span => span.to >= view.from && span.from <= view.to).length <= SPANS_LABELLED;
  context.textAlign = 'left';
  const labelled = new Map(), told = [];
  for (const span of spans) {
    if (span.to < view.from || span.from > view.to) continue;
    const left = Math.max(MARGIN.left, x(span.from)), right = Math.min(width - MARGIN.right, x(span.to));
    told.push(`${span.f.replace('start-', '')} (${span.text}) from ${seconds(span.from)} to ${seconds(span.to)}`);
    context.fillStyle = faultColour(span.f);
    lanes.forEach(([name], at) => {
      if (span.nodes.length > 0 && !span.nodes.includes(name)) return;
      context.globalAlpha = 0.2;
      context.fillRect(left, lane(at) - LANE / 2 + 1, Math.max(2, right - left), LANE - 2);
      context.globalAlpha = 1;
      context.fillRect(left, lane(at) - LANE / 2 + 1, 2, LANE - 2);
      if (right - left < 60 && !isFew) return;
      // Beside the label of another fault that begins at the same place.
      const other = labelled.get(at), shift = other && other[0] > left ? other[0] - left + 8 : 0;
      const text = span.f.replace('start-', '');
      context.fillText(text, left + 5 + shift, lane(at) - LANE / 2 + 7);
      labelled.set(at, [left + 5 + shift + context.measureText(text).width]);
    });
  }
  return told;
}

// Draws one message and returns where: from x, y to x, y. `told` is true of a decisive one, and
// false of another of the story.
function arrow(context, messages, i, [start, arrival], from, to, strong, pale, told) {
  const took = messages.took[i];
  const lost = took === LOST, underway = took === UNDERWAY, late = took > messages.late;
  const end = lost || underway ? start + 16 : arrival;
  const target = lost || underway ? from + (to - from) * 0.4 : to;
  const usual = told === false ? colours.ink : late ? colours.late : colours.sea;
  context.strokeStyle = context.fillStyle = lost || told ? colours.bad : usual;
  context.globalAlpha = pale ? 0.25 : 1;
  context.lineWidth = strong || told !== undefined ? 2.5 : 1;
  context.setLineDash(late || underway ? [5, 3] : []);
  context.beginPath(); context.moveTo(start, from); context.lineTo(end, target); context.stroke();
  context.setLineDash([]);
  if (lost) {
    context.beginPath();
    context.moveTo(end - 4, target - 4); context.lineTo(end + 4, target + 4);
    context.moveTo(end + 4, target - 4); context.lineTo(end - 4, target + 4);
    context.stroke();
  } else if (underway) {
    context.beginPath(); context.arc(end, target, 3, 0, 7); context.stroke();
  } else arrowHead(context, start, from, end, target);
  if (messages.copies.has(i)) {
    const again = start + (arrival - start) * messages.copies.get(i) / Math.max(1, took);
    context.strokeStyle = context.fillStyle = colours.copy;
    context.setLineDash([2, 2]);
    context.beginPath(); context.moveTo(start, from); context.lineTo(again, to); context.stroke();
    context.setLineDash([]);
    arrowHead(context, start, from, again, to);
  }
  context.globalAlpha = 1;
  context.lineWidth = 1;
  return [start, from, end, target];
}

function arrowHead(context, ax, ay, bx, by) {
  const angle = Math.atan2(by - ay, bx - ax);
  context.beginPath();
  context.moveTo(bx, by);
  context.lineTo(bx - 7 * Math.cos(angle - 0.4), by - 7 * Math.sin(angle - 0.4));
  context.lineTo(bx - 7 * Math.cos(angle + 0.4), by - 7 * Math.sin(angle + 0.4));
  context.fill();
}

// The type of a message, and in words what its protocol says.
function typeOf(messages, i) { return messages.types[messages.kinds[messages.kind[i]].type]; }

// The arrow nearest to a place.
function hit(segments, px, py) {
  let best = -1, least = 8;
  for (const [i, ax, ay, bx, by] of segments) {
    const dx = bx - ax, dy = by - ay, length = dx * dx + dy * dy || 1;
    const part = Math.max(0, Math.min(1, ((px - ax) * dx + (py - ay) * dy) / length));
    const distance = Math.hypot(px - ax - part * dx, py - ay - part * dy);
    if (distance < least) { least = distance; best = i; }
  }
  return best;
}

function tellMessage(messages, i) {
  const words = raftLabel(typeOf(messages, i), messages.body(i)), type = typeOf(messages, i) + (words ? ` (${words})` : '');
  const kind = messages.kinds[messages.kind[i]], took = messages.took[i];
  const fate = took === LOST ? 'lost' : took === UNDERWAY ? 'never arrives' : 'arrives after ' + duration(took) + (took > messages.late ? ' (late)' : '');
  const again = messages.copies.has(i) ? ', and once more after ' + duration(messages.copies.get(i)) : '';
  return `${seconds(messages.sent[i])}  ${messages.parties[kind.src]} → ${messages.parties[kind.dest]}  ${type}, ${fate}${again}`;
}

function bodyOf(messages, i) {
  const body = messages.body(i);
  if (body === null) return '(the page has no body of this message: it is in messages.jsonl)';
  try { return JSON.stringify(JSON.parse(body), null, 1).replace(/\n */g, ' '); } catch { return body; }
}

// A message and the causes before it, the latest first.
function causes(messages, i) {
  const chain = [];
  for (let at = i; at >= 0 && chain.length < 60; at = messages.cause[at]) chain.push(at);
  return chain;
}
