// The content of a message between replicas of our own Raft, in words: its JSON is short on
// purpose. `report/words.rs` says the same of the static pictures; tests compare the two, and
// their names with the source.

const RAFT_KINDS = {
  R: 'rejected', N: 'abstained', s: 'snapshot', S: 'snapshot got', i: 'confirm?', I: 'confirmed',
  n: 'stand now', o: 'outsider',
};

function raftPart([term, body]) {
  const [[kind, content]] = typeof body === 'string' ? [[body, []]] : Object.entries(body);
  const list = Array.isArray(content) ? content : [];
  let words = RAFT_KINDS[kind] ?? kind;
  if (kind === 'v') words = list[0] ? 'pre-vote?' : 'vote?';
  if (kind === 'V') words = (list[0] ? 'pre-vote: ' : 'vote: ') + (list[1] ? 'yes' : 'no');
  if (kind === 'a') words = list[3]?.length > 0 ? `append ${list[3].length}` : 'heartbeat';
  if (kind === 'A') words = `has ${list[1] ?? null}`;
  return `${words} t${term}`;
}

// The term in which its sender leads: only a leader appends; null for any other message.
function raftLeads(type, body) {
  if (!type.endsWith(':raft') || body === null) return null;
  try {
    const part = (JSON.parse(body).m ?? []).find(([, content]) => content.a);
    return part ? part[0] : null;
  } catch { return null; }
}

// Such a message in a few words; null for any other message.
function raftLabel(type, body) {
  if (!type.endsWith(':raft') || body === null) return null;
  try {
    const { m = [], r, o, a, b, s, l, h } = JSON.parse(body), words = m.map(raftPart);
    if (r || o) words.push('request');
    if (a || b) words.push('reply');
    if (s) words.push('who leads?');
    if (l) words.push('hears a leader');
    if (h) words.push('waits for a leader');
    return words.length > 0 ? words.slice(0, 3).join(', ') + (words.length > 3 ? ' …' : '') : null;
  } catch { return null; }
}
