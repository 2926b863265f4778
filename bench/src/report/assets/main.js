// The page: what is looked at, the filters, and what follows from a click.

const $ = id => document.getElementById(id);

async function main() {
  readColours();
  const data = await unpack(), head = data.head;
  const model = { head, ops: readOperations(data), messages: readMessages(data) };
  const { ops, messages } = model;
  let low = Infinity, high = 1000;
  for (let i = 0; i < ops.count; i++) if (ops.took[i] >= 0) { low = Math.min(low, ops.took[i]); high = Math.max(high, ops.took[i]); }
  model.latency = [Math.max(1, Math.min(low, high / 10)), high * 1.3];
  const whole = { from: Math.min(0, head.opsFrom), to: Math.max(1000, head.end, messages.last) };
  // A fault that nothing ended lasted as long as the run, which may go on after the history.
  model.spans = head.spans.map(span => (span.over ? span : { ...span, to: whole.to }));
  model.story = storyOf(model);
  const state = { view: { ...whole }, look: { ...whole }, marked: head.focusRow ?? null, selected: [] };
  let atLatency = () => -1, atMessage = () => -1, atTimeline = () => -1;

  const wanted = () => {
    const f = $('filter-f').value, node = $('filter-node').value, process = $('filter-process').value.trim();
    const shown = OUTCOMES.map(name => $('show-' + name).checked);
    const fAt = ops.fs.indexOf(f), nodeAt = head.nodes.indexOf(node), processAt = Number(process);
    return i => shown[ops.outcome[i]] && (f === '' || ops.f[i] === fAt) && (node === '' || ops.node[i] === nodeAt)
      && (process === '' || ops.process[i] === processAt);
  };
  const drawView = () => { atLatency = latencyChart(model, state.view, wanted(), state.marked); };
  const drawLook = () => {
    const filter = { clients: $('show-clients').checked, type: $('filter-type').value, party: $('filter-party').value, even: $('even').checked };
    if (messages.count > 0) atMessage = diagram(model, state.look, filter, state.selected, head.focus);
    atTimeline = timeline(model, state.look, wanted(), state.marked);
  };
  // What is drawn anew with the next frame: the charts of the whole run, those of the window, or both.
  let planned = null;
  const plan = parts => {
    if (planned !== null) { parts.forEach(part => planned.add(part)); return; }
    planned = new Set(parts);
    requestAnimationFrame(() => { const due = planned; planned = null; due.forEach(draw => draw()); });
  };
  const redraw = () => plan([drawView, drawLook]);
  const clamp = (from, to) => {
    const span = Math.max(20, to - from), start = Math.max(whole.from - 1e6, Math.min(from, whole.to - span / 2));
    return { from: start, to: start + span };
  };
  const setLook = (from, to) => { state.look = clamp(from, to); plan([drawLook]); };
  const setView = (from, to) => { state.view = clamp(from, to); plan([drawView]); };

  // A window around a moment in which there is something to see, and not too much.
  const lookAt = (from, to) => {
    let room = Math.max(2000, (to - from) * 0.3);
    const enough = Math.min(40, messages.count);
    for (let tries = 0; tries < 16; tries++, room *= 2) {
      const inside = times => lowerBound(times, to + room) - lowerBound(times, from - room);
      if (inside(messages.sent) >= enough || (messages.count === 0 && inside(ops.at) >= 12)) break;
    }
    // Beyond the ends of the run there is nothing.
    const edge = (whole.to - whole.from) / 40;
    setLook(Math.max(from - room, Math.min(from, whole.from - edge)), Math.min(to + room, Math.max(to, whole.to + edge)));
  };
  // Of a window with few messages, whose ways are too short to be seen by the clock, the order is
  // the story.
  const suggestOrder = () => {
    const { from, to } = state.look, inside = lowerBound(messages.sent, to) - lowerBound(messages.sent, from);
    const pixels = messages.median / (to - from) * $('messages').clientWidth;
    $('even').checked = isInstant(messages) || (inside <= LABELLED && pixels < 24);
  };
  const showOp = (i, jump) => {
    state.marked = i;
    detail(tellOp(ops, i, head), []);
    if (jump) lookAt(ops.at[i], ops.at[i] + Math.max(0, ops.took[i]));
    redraw();
  };
  // The decisive operation, with the others that its anomaly names as far as they are near.
  const showStory = () => {
    const near = storyWindow(model);
    showOp(head.focusRow, near === null);
    if (near !== null) lookAt(near.from, near.to);
  };
  const detail = (text, chain) => {
    const box = $('detail');
    box.replaceChildren();
    const first = document.createElement('pre');
    first.textContent = text;
    box.append(first);
    if (chain.length > 1) {
      const list = document.createElement('ol');
      for (const i of chain.slice(1)) {
        const item = document.createElement('li'), button = document.createElement('button');
        button.type = 'button';
        button.textContent = tellMessage(messages, i) + '  ' + bodyOf(messages, i).slice(0, 200);
        button.addEventListener('click', () => choose(i));
        item.append(button);
        list.append(item);
      }
      const title = document.createElement('p');
      title.textContent = 'Caused by, the latest first (the request that it answers, or else the last message that its sender had received):';
      box.append(title, list);
    }
  };
  const choose = i => {
    state.selected = i < 0 ? [] : causes(messages, i);
    if (i >= 0) {
      detail(tellMessage(messages, i) + '\n' + bodyOf(messages, i), state.selected);
      if (messages.sent[i] < state.look.from || messages.sent[i] > state.look.to) lookAt(messages.sent[i], messages.sent[i]);
    }
    redraw();
  };
  const search = () => {
    const text = $('search').value.trim();
    if (text === '') return;
    const types = messages.types.map(type => type.includes(text));
    const start = state.selected.length ? state.selected[0] + 1 : lowerBound(messages.sent, state.look.from);
    for (let n = 0; n < messages.count; n++) {
      const i = (start + n) % messages.count, body = messages.body(i);
      if (types[messages.kinds[messages.kind[i]].type] || (body !== null && body.includes(text))) {
        lookAt(messages.sent[i], messages.sent[i] + Math.max(0, messages.took[i]));
        return choose(i);
      }
    }
    detail('No type, and no body that this page has, contains ' + text, []);
  };

  fill($('filter-f'), ops.fs);
  fill($('filter-node'), head.concurrency ? head.nodes : []);
  fill($('filter-type'), [...messages.types].sort());
  fill($('filter-party'), messages.parties.filter(name => !isClient(name, head)));
  document.querySelectorAll('.tools select, .tools input').forEach(input => input.addEventListener('input', redraw));
  $('search').addEventListener('keydown', event => { if (event.key === 'Enter') search(); });
  $('search-next').addEventListener('click', search);
  const move = (by, zoom) => () => {
    const { from, to } = state.look, span = to - from, middle = (from + to) / 2 + by * span;
    setLook(middle - span * zoom / 2, middle + span * zoom / 2);
  };
  $('earlier').addEventListener('click', move(-0.5, 1));
  $('later').addEventListener('click', move(0.5, 1));
  $('closer').addEventListener('click', move(0, 0.5));
  $('wider').addEventListener('click', move(0, 2));
  $('whole').addEventListener('click', () => setLook(whole.from, whole.to));
  const home = () => (head.focusRow ?? null) !== null
    ? showStory() : lookAt(head.focus, head.focus);
  $('home').addEventListener('click', () => { state.selected = []; home(); });
  $('view-all').addEventListener('click', () => setView(whole.from, whole.to));
  const hoverOp = at => (x, y, event) => { const i = at(x, y); tip(i < 0 ? null : tellOp(ops, i, head), event); };
  for (const id of ['latency', 'rate']) {
    listen($(id), () => state.view, {
      zoom: setView, reset: () => setView(whole.from, whole.to),
      hover: hoverOp((x, y) => id === 'latency' ? atLatency(x, y) : -1),
      click: (x, y) => { const i = id === 'latency' ? atLatency(x, y) : -1; if (i >= 0) showOp(i, true); },
    });
  }
  listen($('diagram'), () => state.look, {
    zoom: setLook, reset: move(0, 4),
    hover: (x, y, event) => { const i = atMessage(x, y); tip(i < 0 ? null : tellMessage(messages, i) + '\n' + bodyOf(messages, i).slice(0, 1200), event); },
    click: (x, y) => choose(atMessage(x, y)),
  });
  listen($('timeline'), () => state.look, {
    zoom: setLook, reset: move(0, 4), hover: hoverOp((x, y) => atTimeline(x, y)),
    click: (x, y) => { const i = atTimeline(x, y); if (i >= 0) showOp(i, false); },
  });
  $('timeline-scroll').addEventListener('scroll', () => plan([drawLook]));
  for (const button of document.querySelectorAll('button.op')) {
    button.addEventListener('click', () => {
      const index = Number(button.dataset.index), row = button.dataset.row;
      const i = row !== undefined ? Number(row) : lowerBound(ops.index, index);
      if (i < ops.count) { showOp(i, true); $('messages').scrollIntoView({ block: 'start' }); }
    });
  }
  steppers();
  traffic(model);
  window.addEventListener('resize', redraw);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { readColours(); redraw(); });
  home();
  suggestOrder();
  redraw();
  requestAnimationFrame(() => requestAnimationFrame(() => { document.body.dataset.ready = 'yes'; }));
}

function fill(select, names) {
  for (const name of names) {
    const option = document.createElement('option');
    option.value = option.textContent = name;
    select.append(option);
  }
}

// The steps of an explanation, one at a time.
function steppers() {
  for (const box of document.querySelectorAll('.steps')) {
    const steps = [...box.querySelectorAll('.step')];
    let now = steps.length;
    const show = () => {
      steps.forEach((step, at) => { step.hidden = at >= now || at < now - 5; step.classList.toggle('step-now', at === now - 1); });
      box.querySelector('span.step-now').textContent = `step ${now} of ${steps.length}`;
    };
    for (const button of box.querySelectorAll('button[data-step]')) {
      button.addEventListener('click', () => { now = Math.max(1, Math.min(steps.length, now + Number(button.dataset.step))); show(); });
    }
    show();
  }
}

main().catch(error => {
  const box = document.createElement('p');
  box.className = 'bad';
  box.textContent = 'The charts cannot be drawn: ' + error;
  document.body.prepend(box);
  console.error(error);
});
