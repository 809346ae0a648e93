// One event opened: its fields, its headers, what repeats it, and the forwarder's story of it.

import { ask, clock, make, shown } from '/dom.js';
import { recordOf } from '/records.js';

const FRESH = 1500; // how often an open story is asked for again

/** Build what an open event shows. `others` are the entries that the page holds. */
export const detailsOf = (entry, others, open) => {
  const story = make('div', { class: 'story', 'aria-live': 'polite' }, make('p', { class: 'hint' }, 'Asking the forwarder.'));
  const element = make(
    'div',
    { class: 'details' },
    section('Answer', list(answerOf(entry)), 'answer'),
    section('The forwarder’s story', story, 'wide'),
    section('Fields', fieldsOf(entry), 'fields'),
    section('Duplicates', duplicatesOf(entry, others, open)),
    section('Record', recordOf(entry), 'record'),
    section('Headers', Object.keys(entry.headers).length ? list(entry.headers) : hint('None.')),
  );
  return { element, stop: follow(entry, story) };
};

const section = (title, content, kind = '') =>
  make('section', { class: kind, 'aria-label': title }, make('h3', {}, title), content);

const hint = (text) => make('p', { class: 'hint' }, text);

const list = (values) =>
  make(
    'dl',
    {},
    ...Object.entries(values)
      .filter(([, value]) => value != null && value !== '')
      .map(([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, shown(value)))),
  );

const answerOf = (entry) => ({
  Status: entry.status ?? 'none: the connection ended without one',
  Message: entry.message,
  Fault: entry.fault && `${entry.fault.replaceAll('_', ' ')}, as the sandbox was told`,
  'Request-Id': entry.request_id,
  Received: clock(entry.received_at, true),
});

const fieldsOf = (entry) => {
  if (!Object.keys(entry.fields).length) return hint('The body held no event.');
  const fields = list(entry.fields);
  if (entry.unknown_fields.length) fields.append(hint(`Unknown to Cometly: ${entry.unknown_fields.join(', ')}.`));
  return fields;
};

/** Name the event that came first, and each that repeats this one. */
const duplicatesOf = (entry, others, open) => {
  const first = entry.duplicate_of && others.find((it) => it.event_id === entry.duplicate_of);
  const copies = others.filter((it) => it.duplicate_of && it.duplicate_of === entry.event_id);
  const link = (it, text) => {
    const button = make('button', { type: 'button', class: 'link' }, text);
    button.addEventListener('click', () => open(it));
    return make('li', {}, button);
  };
  if (entry.duplicate_of) {
    const why = hint(`Repeats event ${entry.duplicate_of}, as its ${entry.duplicate_rule} says. Cometly drops it.`);
    return first ? make('ul', {}, why, link(first, `the first, at ${clock(first.received_at)}`)) : why;
  }
  if (!copies.length) return hint('None among the last 500.');
  return make('ul', {}, ...copies.map((it) => link(it, `event ${it.event_id} at ${clock(it.received_at)}, by ${it.duplicate_rule}`)));
};

/** Keep the story current while the event is open; returns what ends that. */
const follow = (entry, place) => {
  let timer;
  let before = '';
  let stopped = false;
  const look = async () => {
    let told;
    try {
      told = await ask(`forwarder/story/${encodeURIComponent(entry.request_id)}`);
    } catch (error) {
      told = { away: error.message };
    }
    if (stopped) return;
    const now = JSON.stringify(told);
    if (now !== before) place.replaceChildren(...storyOf(told));
    before = now;
    timer = setTimeout(look, FRESH);
  };
  look();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
};

const NAMES = {
  'ingest.accepted': 'accepted by the API',
  'delivery.delivered': 'delivered',
  'delivery.duplicate': 'dropped: a repetition of what was delivered',
  'delivery.retried': 'will be tried again',
  'delivery.throttled': 'waits: Cometly said 429',
  'delivery.blocked': 'waits: Cometly refuses the token or the plan',
  'delivery.parked': 'parked on the dead-letter queue',
  'delivery.unavailable': 'waits: an AWS service did not answer',
  'delivery.late': 'gave its slot back: too late for it',
  'delivery.warned': 'taken with warnings',
};

const storyOf = (told) => {
  if (told.away) return [hint(told.away)];
  if (!told.event_id) return [hint('The forwarder does not know this event: it came to the sandbox by another way.')];
  const { state, attempts, answer, retry_at: retryAt } = told.ledger;
  const parts = [state ?? 'not in the ledger', attempts && `${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}`, answer];
  if (state === 'waiting' && retryAt) parts.push(`again at ${clock(retryAt)}`);
  return [
    make('p', { class: 'ledger' }, make('code', {}, told.event_id), ` ${parts.filter(Boolean).join(' · ')}`),
    make('ol', { class: 'lines' }, ...told.lines.map(line)),
  ];
};

const line = ({ at, name, keys }) => {
  const { reason, delay, latency } = keys;
  const more = [
    reason,
    delay && `after ${delay} s`,
    latency && `${latency.toFixed(2)} s after it was accepted`,
    name === 'delivery.warned' && keys.fields?.join(', '),
  ];
  return make(
    'li',
    { 'data-name': name, title: JSON.stringify(keys) },
    make('time', {}, timeOf(at)),
    make('strong', {}, NAMES[name] ?? name),
    make('span', {}, more.filter(Boolean).join(' · ')),
  );
};

/** The log writes "2026-01-31 12:00:00,123+0000". */
const timeOf = (text) => {
  const at = Date.parse(text.replace(' ', 'T').replace(',', '.').replace(/(\d\d)(\d\d)$/, '$1:$2'));
  return Number.isNaN(at) ? text : clock(at / 1e3, true);
};
