// What the forwarder says of itself, where the sandbox runs beside one: asked every two seconds
// while somebody looks.

import { ask, byId, make } from '/dom.js';

const EVERY = 2e3;
let parkedBefore = -1;

export const startForwarder = async () => {
  if (!document.hidden) {
    try {
      const state = await ask('forwarder');
      if (state.away) sayAway(state.away);
      else await show(state);
    } catch (error) {
      sayAway(error.message);
    }
  }
  setTimeout(startForwarder, EVERY);
};

const sayAway = (why) => {
  const note = byId('forwarder-note');
  if (note.textContent !== why) note.textContent = why;
  delete note.dataset.level;
  byId('counts').hidden = true;
  byId('parked').replaceChildren();
  parkedBefore = -1;
};

const show = async (state) => {
  byId('counts').hidden = false;
  byId('waiting').textContent = state.waiting;
  byId('in-flight').textContent = state.in_flight;
  byId('parked-count').textContent = state.parked;
  const note = byId('forwarder-note');
  const text = [told('Delivery', state.pause), told('The events of pages', state.pages_pause)].filter(Boolean).join(' ');
  note.dataset.level = text ? 'bad' : 'good';
  const said = text || 'Delivers.';
  if (note.textContent !== said) note.textContent = said;
  if (state.parked !== parkedBefore) {
    const events = await ask('forwarder/parked');
    if (events.away) return;
    parkedBefore = state.parked;
    showParked(events, state.parked);
  }
};

const CAUSES = {
  throttled: 'Cometly said 429',
  blocked: 'Cometly refuses the token or the plan',
  failing: 'Cometly does not answer',
};

const told = (what, pause) => {
  if (!pause) return '';
  const seconds = Math.ceil(pause.until - Date.now() / 1e3);
  // A pause for a 429 ends by itself; the others end with an event that gets through.
  if (seconds <= 0 && pause.cause === 'throttled') return '';
  const until = seconds > 0 ? `for ${seconds} s more` : 'until one event has probed';
  return `${what} paused ${until}: ${CAUSES[pause.cause] ?? pause.cause}.`;
};

const showParked = (events, count) => {
  byId('parked').replaceChildren(
    ...events.map((it) =>
      make(
        'li',
        {},
        make('strong', {}, it.event_name ?? 'unreadable'),
        make('span', { class: 'who' }, [it.email, it.order_id].filter(Boolean).join(' · ')),
        make('span', { class: 'reason' }, [it.reason, it.message].filter(Boolean).join(': ') || 'no reason given'),
      ),
    ),
    ...(count > events.length ? [make('li', { class: 'more' }, `and ${count - events.length} more`)] : []),
  );
};
